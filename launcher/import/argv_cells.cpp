// The guest's NUMA nodes of a command line: a [[numa]] for each -numa node, with its -numa cpu and dist and its memory's backend.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/argv.hpp"
#include "launcher/import/cells.hpp"

namespace launcher::inline import {

namespace {

std::vector<ArgvOption*> of_type(ArgvWalk& walk, std::string_view type) {
  std::vector<ArgvOption*> all;
  for (ArgvOption* numa : walk.every("numa"))
    if (numa->is("type", type)) all.push_back(numa);
  return all;
}

// Where a vCPU is in the shape that -smp gives.
struct Place {
  std::uint64_t socket = 0, die = 0, core = 0, thread = 0;
};
Place place_of(ArgvWalk& walk, std::uint64_t vcpu) {
  ArgvOption* smp = walk.find("smp");
  const auto get = [&](const char* key) {
    return std::max<std::uint64_t>(1, smp == nullptr ? 1 : smp->number(key).value_or(1));
  };
  const std::uint64_t threads = get("threads"), cores = get("cores"), dies = get("dies");
  return {vcpu / threads / cores / dies, vcpu / threads / cores % dies, vcpu / threads % cores, vcpu % threads};
}

// "cpus=0-3,cpus=8": each range by itself
topology::CpuSet listed(const ArgvOption& node) {
  topology::CpuSet all;
  for (const auto& [key, value] : node.members)
    if (key.starts_with("cpus"))
      if (const auto set = topology::CpuSet::parse(value)) all |= *set;
  return all;
}

void seat_vcpus(ArgvWalk& walk, std::vector<ImportedCell>& cells) {
  topology::CpuSet all, placed;
  for (unsigned vcpu = 0; vcpu < walk.vcpus; ++vcpu) all.add(vcpu);
  for (ArgvOption* option : of_type(walk, "cpu")) {
    const auto node = option->number("node-id");
    for (const unsigned vcpu : all.to_vector()) {
      const Place at = place_of(walk, vcpu);
      const auto fits = [&](const char* key, std::uint64_t is) { return option->number(key).value_or(is) == is; };
      if (node && *node < cells.size() && fits("socket-id", at.socket) && fits("die-id", at.die) &&
          fits("core-id", at.core) && fits("thread-id", at.thread))
        cells[*node].vcpus.add(vcpu);
    }
    option->tell_rest(Verb::kept, "numa.vcpus");
  }
  for (ImportedCell& cell : cells) placed |= (cell.vcpus = cell.vcpus & all);
  for (const unsigned vcpu : (all - placed).to_vector())  // QEMU's own way: socket by socket
    cells[place_of(walk, vcpu).socket % cells.size()].vcpus.add(vcpu);
}

ImportedDistances distances_of(ArgvWalk& walk, std::size_t count) {
  const std::vector<ArgvOption*> options = of_type(walk, "dist");
  if (options.empty()) return {};
  ImportedDistances table(count, std::vector<std::optional<unsigned>>(count));
  for (ArgvOption* option : options) {
    const auto from = option->number("src"), to = option->number("dst"), value = option->number("val");
    const bool good = from && to && value && *from < count && *to < count && *value <= 255;
    if (good) table[*from][*to] = static_cast<unsigned>(*value);
    option->tell_rest(good ? Verb::kept : Verb::dropped, good ? "numa.distances" : "no distance of two nodes");
  }
  return table;
}

// What is plugged from the start is memory of its node.
std::uint64_t dimms_of(ArgvWalk& walk, std::uint64_t node) {
  std::uint64_t sum = 0;
  for (ArgvOption* device : walk.every("device"))
    if (device->kind() == "pc-dimm" && device->number("node").value_or(0) == node)
      if (ArgvOption* backend = walk.by_id("object", device->get("memdev")))
        sum += qemu_size(backend->get("size"), 1).value_or(0);
  return sum;
}

// Its size by "mem" or by its backend's; nullopt: neither says one.
std::optional<std::uint64_t> size_of(ArgvWalk& walk, const ArgvOption& node, ImportedCell& cell) {
  if (node.has("mem")) return qemu_size(node.get("mem"), mebi);
  ArgvOption* backend = node.has("memdev") ? walk.by_id("object", node.get("memdev")) : nullptr;
  if (backend == nullptr) return std::nullopt;
  for (const auto& [key, value] : backend->members)
    if (key.starts_with("host-nodes"))
      if (const auto set = topology::CpuSet::parse(value)) cell.nodes |= *set;
  const std::string policy = backend->get("policy") == "bind" ? "strict" : backend->get("policy");
  const SpecText::Line* all = walk.spec.find("memory", "policy");
  if (is_memory_policy(policy) && toml_text(policy) != (all == nullptr ? "\"strict\"" : all->value))
    cell.policy = policy;
  return qemu_size(backend->get("size"), 1);
}

}  // namespace

bool has_cells(ArgvWalk& walk) { return of_type(walk, "node").size() > 1; }

void argv_cells(ArgvWalk& walk) {
  const std::vector<ArgvOption*> nodes = of_type(walk, "node");
  if (nodes.size() < 2) {
    for (ArgvOption* numa : walk.every("numa"))
      numa->tell_rest(Verb::kept, "one node is what a guest on one node of the host sees");
    return;
  }
  std::vector<ImportedCell> cells(nodes.size());
  bool sized = false, good = true;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::uint64_t id = nodes[i]->number("nodeid").value_or(i);
    good = good && id < cells.size();
    if (!good) break;
    cells[id].vcpus = listed(*nodes[i]);
    const auto size = size_of(walk, *nodes[i], cells[id]);
    sized = sized || size;
    cells[id].size = rounded_up(size.value_or(0) + dimms_of(walk, id), step_of_cells(walk.spec));
  }
  if (good) seat_vcpus(walk, cells);
  good = good && sized &&
         std::ranges::none_of(cells, [](const ImportedCell& cell) { return cell.size == 0 && cell.vcpus.empty(); });
  if (good) write_cells(walk.spec, cells, distances_of(walk, cells.size()));
  for (ArgvOption* node : nodes)
    node->tell_rest(good ? Verb::kept : Verb::dropped,
                    good ? "[[numa]]" : "the guest sees the nodes of the host that it is on; [[numa]] says others");
  for (ArgvOption* numa : walk.every("numa"))
    numa->tell_rest(Verb::dropped, numa->kind().empty() && good ? "vmrun makes no HMAT: the guest goes by the distances"
                                                                : "the guest sees the nodes of the host that it is on");
  if (good && of_type(walk, "dist").empty())
    walk.missing("-numa dist", Verb::changed,
                 "the guest is told the distances of the host's nodes; it took 10 and 20 for them");
}

}  // namespace launcher::import
