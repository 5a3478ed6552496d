// Without pinning: nodes whose memory and CPUs are enough, one guest node over all of them, and for the threads every
// CPU there that no other VM owns.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

CpuSet open_cpus(const View& view, const std::vector<unsigned>& nodes) {
  CpuSet cpus;
  for (const unsigned node : nodes) cpus |= view.host.cpus_of_node(node);
  cpus -= view.held;
  const CpuSet balanced = cpus - view.host.isolated;  // on isolated CPUs the kernel would leave all threads on one
  return balanced.empty() ? cpus : balanced;
}

struct Found {
  std::vector<unsigned> nodes;
  std::optional<Memory> memory;
};

// The fewest nodes, from each node outwards; among them: devices near, large pages, much room, first.
std::optional<Found> fewest_nodes(const View& view, unsigned cpus, bool with_memory) {
  using Rank = std::tuple<bool, bool, std::uint64_t, unsigned, unsigned>;
  std::uint64_t most = 0;
  for (const unsigned node : view.cpu_nodes) most = std::max(most, view.rooms.at(node).free.count);
  const auto& near = view.request.device_nodes;
  for (std::size_t size = 1; size <= view.cpu_nodes.size(); ++size) {
    std::optional<Rank> best_rank;
    std::optional<Found> best;
    for (const unsigned start : view.cpu_nodes) {
      auto nodes = by_distance(view, {start}, view.cpu_nodes);
      nodes.resize(size);
      std::sort(nodes.begin(), nodes.end());
      const unsigned count = open_cpus(view, nodes).size();
      if (count < cpus) continue;
      auto memory = with_memory ? memory_together(view, nodes) : std::nullopt;
      if (with_memory && !memory) continue;
      std::uint64_t room = 0;
      for (const unsigned node : nodes) room += view.rooms.at(node).free.count;
      const Rank rank{!view.host.isolated.contains(open_cpus(view, nodes)),
                      std::find(near.begin(), near.end(), start) != near.end(), memory ? memory->page.page.count : 0,
                      in_quarters(room, most * size), count};
      if (best_rank && rank <= *best_rank) continue;
      best_rank = rank;
      best = Found{std::move(nodes), std::move(memory)};
    }
    if (best) return best;
  }
  return std::nullopt;
}

std::optional<Found> find_nodes(const View& view, unsigned cpus) {
  const auto& r = view.request;
  if (r.policy == MemoryPolicy::interleave || !r.nodes.empty()) {
    const auto nodes = memory_nodes(view);
    if (auto memory = memory_together(view, nodes)) return Found{nodes, std::move(memory)};
  } else if (auto found = fewest_nodes(view, cpus, true)) {
    return found;
  }
  if (r.policy != MemoryPolicy::preferred) return std::nullopt;
  auto found =
      r.nodes.empty() ? fewest_nodes(view, cpus, false) : std::optional(Found{memory_nodes(view), std::nullopt});
  if (!found) return std::nullopt;
  found->memory = memory_preferred(view, found->nodes);
  if (!found->memory) return std::nullopt;
  found->memory->parts = {{found->nodes, r.memory}};
  return found;
}

}  // namespace

std::expected<Unpinned, Problems> choose_unpinned(const View& view) {
  const auto& r = view.request;
  const CpuSet anywhere = open_cpus(view, view.cpu_nodes);
  if (anywhere.empty() && !r.emulator)
    return std::unexpected(
        Problems{{"cpu.count", "every CPU of this host belongs to another VM", {}, "stop one of them"}});
  const unsigned wanted = std::min(std::max(1u, anywhere.size()), r.vcpus);
  const auto named = nodes_named_by_cells(view);
  auto found = named.empty() ? find_nodes(view, anywhere.empty() ? 0 : wanted) : Found{named, std::nullopt};
  if (found && !r.cells.empty()) found->memory = memory_of_unseated(view, found->nodes);
  if (found && !found->memory) return std::unexpected(why_no_cells(view));
  if (!found) return std::unexpected(why_no_memory(view, memory_nodes(view)));
  Unpinned choice{*std::move(found->memory), open_cpus(view, found->nodes), r.threads.value_or(1), {}};
  while (!r.threads && !shape_fits(r, choice.threads)) ++choice.threads;  // check() saw that one fits
  if (choice.cpus.empty()) {                                              // nodes without CPUs, or with none left
    for (const unsigned node : by_distance(view, found->nodes, view.cpu_nodes))
      if (choice.cpus.empty()) choice.cpus = open_cpus(view, {node});
    choice.notes.push_back(fmt::format("node {} has no CPU to run on; the threads run on {}", numbers(found->nodes),
                                       choice.cpus.to_string()));
  }
  if (found->nodes.size() > 1 && r.nodes.empty() && named.empty() && r.policy != MemoryPolicy::interleave)
    choice.notes.push_back(fmt::format("the VM crosses nodes {}: no node alone has {} CPUs and {} of memory to give",
                                       numbers(found->nodes), wanted, to_string(r.memory)));
  if (!choice.cpus.empty() && view.host.isolated.contains(choice.cpus))
    choice.notes.push_back(
        fmt::format("all CPUs for it, {}, are isolated: the kernel balances nothing there", choice.cpus.to_string()));
  if (choice.cpus.size() < r.vcpus)
    choice.notes.push_back(
        fmt::format("{} vCPUs share the {} that no other VM owns", r.vcpus,
                    choice.cpus.size() == 1 ? "one CPU" : fmt::format("{} CPUs", choice.cpus.size())));
  return choice;
}

}  // namespace topology::parts
