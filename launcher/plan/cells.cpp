// The guest's NUMA nodes: as the host's that it is on, or as [[numa]] has them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

using Distances = std::vector<std::vector<unsigned>>;

bool same_both_ways(const Distances& distances) {
  for (std::size_t from = 0; from < distances.size(); ++from)
    for (std::size_t to = 0; to < from; ++to)
      if (distances[from][to] != distances[to][from]) return false;
  return true;
}

// Of a table that is not the same both ways QEMU wants all of it.
void add_distances(Draft& draft) {
  const Distances& distances = draft.plan.placement.distances;
  const bool by_hand = std::ranges::any_of(draft.spec.numa, [](const NumaSpec& one) { return !one.distances.empty(); });
  const bool half = same_both_ways(distances);
  for (std::size_t from = 0; from < distances.size(); ++from)
    for (std::size_t to = half ? from + 1 : 0; to < distances[from].size(); ++to)
      if (from != to)
        draft.args.add("-numa", Opts("dist").set("src", from).set("dst", to).set("val", distances[from][to]),
                       by_hand ? "the one given" : "the host's own distance", by_hand ? "spec numa" : "host");
}

}  // namespace

// What memory.max adds is shared in proportion to what they start with, in blocks of virtio-mem; the rest is the last's.
std::vector<topology::CellRequest> asked_cells(const Spec& spec) {
  const std::vector<NumaShare> shares = numa_shares(spec);
  const MemorySpec& memory = spec.memory;
  const std::uint64_t block = std::max(memory.page.value_or(topology::mib(2)), topology::mib(2)).count;
  const std::uint64_t blocks = memory.max ? (memory.max->count - memory.size.count) / block : 0;
  std::vector<topology::CellRequest> cells;
  std::uint64_t left = blocks;
  std::size_t last = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto part =
        static_cast<std::uint64_t>(static_cast<__uint128_t>(blocks) * shares[i].size.count / memory.size.count);
    const topology::Bytes later = {part * block};
    left -= part;
    if (shares[i].size.count != 0) last = i;
    cells.push_back({shares[i].vcpus, shares[i].size + later, later, spec.numa[i].nodes, spec.numa[i].distances});
  }
  if (left == 0 || cells.empty()) return cells;
  cells[last].later = cells[last].later + topology::Bytes{left * block};
  cells[last].size = cells[last].size + topology::Bytes{left * block};
  return cells;
}

void add_guest_nodes(Draft& draft) {
  const bool by_hand = !draft.spec.numa.empty();
  for (const topology::MemoryCell& cell : draft.plan.placement.cells) {
    Opts node("node");
    node.set("nodeid", cell.guest_node);
    if (cell.size.count != 0) node.set("memdev", fmt::format("ram{}", cell.guest_node));
    for (unsigned vcpu : cell.vcpus) node.set("cpus", vcpu);
    draft.args.add(
        "-numa", node,
        fmt::format("the guest sees host node {} as its node {}", fmt::join(cell.host_nodes, ","), cell.guest_node),
        by_hand ? "spec numa" : "host");
  }
  add_distances(draft);
  const std::vector<topology::MemoryCell>& cells = draft.plan.placement.cells;
  const auto bare = std::ranges::find_if(cells, [](const topology::MemoryCell& cell) { return cell.vcpus.empty(); });
  if (std::find_if(bare, cells.end(), [](const topology::MemoryCell& cell) { return !cell.vcpus.empty(); }) !=
      cells.end())
    draft.note(
        fmt::format("{}: a Linux guest gives those with vCPUs the first numbers: its nodes are not in the order "
                    "of {}, for {} has none",
                    by_hand ? "numa" : "memory.nodes", by_hand ? "[[numa]]" : "the host's",
                    by_hand ? fmt::format("numa[{}]", bare->guest_node)
                            : fmt::format("node {}", fmt::join(bare->host_nodes, ","))));
}

}  // namespace launcher::parts
