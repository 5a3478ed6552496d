// How a VM's cores are shared out over several nodes. The rule: even, but isolated cores first, and none of them goes without for that.
#include <algorithm>
#include <map>
#include <numeric>

#include "topology/place_parts.hpp"

namespace topology::parts {

unsigned isolated_cores(const View& view, const CoreNeed& need, unsigned node) {
  if (view.host.isolated.empty()) return 0;
  unsigned count = 0;
  for (const Core& core : view.cores)
    if (core.node == node && is_isolated(core, need) && serves(core, need)) count += places(core, need);
  return std::min(count, need.cores);
}

// What each node gives, evenly as far as they go; isolated cores first, but none goes without for that.
std::optional<std::vector<std::uint64_t>> shares_of(std::uint64_t cores, const std::vector<std::uint64_t>& caps,
                                                    const std::vector<std::uint64_t>& isolated) {
  auto even = spread(cores, caps);
  const std::uint64_t kept = std::reduce(isolated.begin(), isolated.end());
  if (!even || kept == 0) return even;
  std::vector<std::uint64_t> shares = isolated;
  if (kept >= cores) shares = *spread(cores, isolated);
  for (std::uint64_t given = std::min(kept, cores); given < cores; ++given) {
    auto least = shares.end();
    for (auto one = shares.begin(); one != shares.end(); ++one)
      if (*one < caps[static_cast<std::size_t>(one - shares.begin())] && (least == shares.end() || *one < *least))
        least = one;
    ++*least;
  }
  return std::ranges::count(shares, 0u) > std::ranges::count(*even, 0u) ? even : shares;
}

unsigned least_nodes(const std::map<unsigned, unsigned>& free_cores, const std::vector<unsigned>& nodes,
                     unsigned cores) {
  std::vector<unsigned> counts;
  for (const unsigned node : nodes) counts.push_back(free_cores.at(node));
  std::sort(counts.rbegin(), counts.rend());
  unsigned size = 0;
  for (std::uint64_t sum = 0; size < counts.size() && sum < cores; ++size) sum += counts[size];
  return std::max(2u, size);
}

}  // namespace topology::parts
