// The host as a VM may use it. The rule: a plan stays within what this process was allowed, and every CPU is served by
// memory that can be had; the plan says where that moved something.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

// Node without memory -> the one that serves its CPUs: the nearest; among equals that which serves the fewest, then the
// first. Empty where no node says what it has.
std::map<unsigned, unsigned> servers(const HostTopology& host) {
  if (std::ranges::none_of(host.nodes, [](const Node& node) { return node.memory_total.count == 0; })) return {};
  std::map<unsigned, unsigned> cpus_on, served;
  for (const Pu& pu : host.pus) ++cpus_on[pu.node];
  for (const Node& node : host.nodes) {
    if (node.memory_total.count != 0 || !cpus_on.contains(node.id)) continue;
    const Node* best = nullptr;
    for (const Node& to : host.nodes) {
      if (to.memory_total.count == 0 || !cpus_on.contains(to.id)) continue;
      const unsigned there = host.distance(node.id, to.id);
      const unsigned nearest = best != nullptr ? host.distance(node.id, best->id) : 0;
      if (best == nullptr || there < nearest || (there == nearest && cpus_on[to.id] < cpus_on[best->id])) best = &to;
    }
    if (best == nullptr) continue;
    served[node.id] = best->id;
    cpus_on[best->id] += cpus_on[node.id];
  }
  return served;
}

}  // namespace

std::optional<HostTopology> usable_part(const HostTopology& host) {
  if (!host.allowed.cpus && !host.allowed.nodes && servers(host).empty()) return std::nullopt;
  HostTopology part = host;
  if (host.allowed.cpus) std::erase_if(part.pus, [&](const Pu& pu) { return !host.allowed.cpus->contains(pu.cpu); });
  for (Node& node : part.nodes) {
    if (!host.allowed.nodes || host.allowed.nodes->contains(node.id)) continue;
    node.memory_total = node.memory_free = {};
    for (HugePagePool& pool : node.pools) pool.total = pool.free = 0;
  }
  const auto served = servers(part);
  for (Pu& pu : part.pus)
    if (const auto found = served.find(pu.node); found != served.end()) pu.node = found->second;
  return part;
}

std::string bounds_text(const HostTopology& host) {
  return host.allowed.by.empty() ? ""
                                 : fmt::format("; vmrun was not allowed more: {}", fmt::join(host.allowed.by, "; "));
}

std::vector<std::string> usable_notes(const View& view, const Placement& placement) {
  std::vector<std::string> notes;
  CpuSet cpus = placement.exclusive | placement.emulator;
  std::map<std::pair<unsigned, unsigned>, CpuSet> moved;  // own node, serving node -> CPUs
  for (const unsigned cpu : &view.whole != &view.host ? cpus.to_vector() : std::vector<unsigned>{}) {
    const Pu *was = view.whole.pu(cpu), *is = view.host.pu(cpu);
    if (was != nullptr && is != nullptr && was->node != is->node) moved[{was->node, is->node}].add(cpu);
  }
  for (const auto& [nodes, here] : moved) {
    const Node* own = view.whole.node(nodes.first);
    notes.push_back(fmt::format("node {} has no memory{}: its CPUs {} are served by node {}, the nearest that has some",
                                nodes.first, own != nullptr && own->memory_total.count != 0 ? " that is allowed" : "",
                                here.to_string(), nodes.second));
  }
  if (!view.whole.allowed.by.empty())
    notes.push_back(
        fmt::format("the plan stays within what vmrun was allowed: {}", fmt::join(view.whole.allowed.by, "; ")));
  CpuSet outside;
  if (view.whole.allowed.cpus)
    for (const unsigned cpu : placement.exclusive.to_vector())
      outside |= view.whole.cpus_of_core(view.whole.pu(cpu)->core) - *view.whole.allowed.cpus;
  if (!outside.empty())
    notes.push_back(fmt::format("CPUs {} share cores with the VM's but are not allowed: others may run there",
                                outside.to_string()));
  return notes;
}

}  // namespace topology::parts
