// The host as a VM may use it. The rule: a plan stays within what this process was allowed, and every CPU is served by
// memory that can be had; the plan says where that moved something.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

// Node without memory -> the one that serves its CPUs: the nearest that has CPUs too, or where none has both, the nearest with
// memory; among equals that which serves the fewest, then the first. Empty where no node says what it has.
std::map<unsigned, unsigned> servers(const HostTopology& host) {
  if (std::ranges::none_of(host.nodes, [](const Node& node) { return node.memory_total.count == 0; })) return {};
  std::map<unsigned, unsigned> cpus_on, served;
  for (const Pu& pu : host.pus) ++cpus_on[pu.node];
  const bool one_has_both = std::ranges::any_of(
      host.nodes, [&](const Node& node) { return node.memory_total.count != 0 && cpus_on.contains(node.id); });
  for (const Node& node : host.nodes) {
    if (node.memory_total.count != 0 || !cpus_on.contains(node.id)) continue;
    const Node* best = nullptr;
    for (const Node& to : host.nodes) {
      if (to.memory_total.count == 0 || (one_has_both && !cpus_on.contains(to.id))) continue;
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

std::optional<unsigned> home_within(const HostTopology& part, const HostTopology& whole, unsigned node) {
  if (whole.node(node) == nullptr) return std::nullopt;
  for (const unsigned cpu : whole.cpus_of_node(node).to_vector())
    if (const Pu* pu = part.pu(cpu)) return pu->node;
  std::optional<unsigned> nearest;
  for (const Pu& pu : part.pus) {
    const auto rank = [&](unsigned of) { return std::pair(whole.distance(node, of), of); };
    if (!nearest || rank(pu.node) < rank(*nearest)) nearest = pu.node;
  }
  return nearest;
}

namespace {

// Only a machine with several kinds can lack one of them; on another all cores are what was asked for.
void check_kind(const View& view, Problems& problems) {
  const auto asked = kind_asked(view);
  if (!asked) return;
  std::string allowed;
  for (const unsigned kind : view.kinds) allowed += (allowed.empty() ? "" : " and ") + view.whole.kind_name(kind);
  if (std::ranges::count(view.kinds, *asked) == 0)
    problems.push_back(
        {"cpu.kind",
         fmt::format("no {} are among the CPUs that vmrun may use, only {}", view.whole.kind_name(*asked), allowed),
         {},
         "set kind = \"auto\""});
  else if (view.request.kind == CpuKindChoice::low_power && !view.whole.kind_name(*asked).starts_with("low-power"))
    problems.push_back({"cpu.kind",
                        fmt::format("\"low-power\", but this host has {}", allowed),
                        {},
                        "set kind = \"efficiency\" or \"auto\""});
}

// Which L3: one that is there, and vmrun's to choose cores of.
void check_cache(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (!view.caches) return;
  const std::string asked = r.l3 ? fmt::to_string(*r.l3) : "\"largest\"";
  CpuSet known;
  for (const Pu& pu : view.whole.pus) known.add(pu.l3);
  if (r.pinning != Pinning::automatic)
    problems.push_back({"cpu.host_l3",
                        fmt::format("{}, but {}", asked,
                                    r.pinning == Pinning::off ? "pin = \"off\" gives no CPU to any vCPU"
                                                              : "cpu.pin names the CPUs already"),
                        {},
                        "set pin = \"auto\", or leave host_l3 out"});
  else if (r.l3 && !known.contains(*r.l3))
    problems.push_back(
        {"cpu.host_l3",
         fmt::format("this host has no L3 {}; it has {}", *r.l3, known.to_string()),
         {},
         fmt::format("name one of {} (`vmrun host` shows them), or leave host_l3 out", known.to_string())});
  else if (view.caches->empty())
    problems.push_back({"cpu.host_l3",
                        "\"largest\", but this host does not say how large its L3s are",
                        {},
                        fmt::format("name one by its number ({}), or leave host_l3 out", known.to_string())});
}

}  // namespace

void check_which_cores(const View& view, Problems& problems) {
  check_kind(view, problems);
  check_cache(view, problems);
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
