// What is behind the guest's memory, and the NUMA nodes it sees.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>

#include "launcher/plan_parts.hpp"

namespace launcher::parts {

namespace {

// Threads for preallocation: the VM's own CPUs, which nobody uses yet; on their node the pages are local.
boost::json::object thread_context(const Draft& draft, const topology::MemoryCell& cell, const std::string& id) {
  boost::json::object context{{"qom-type", "thread-context"}, {"id", id}};
  boost::json::array cpus;
  for (const topology::VcpuSeat& seat : draft.plan.placement.vcpus) {
    if (seat.cpu && seat.guest_node == cell.guest_node) cpus.push_back(*seat.cpu);
  }
  if (cpus.empty())
    context["node-affinity"] = boost::json::array(cell.host_nodes.begin(), cell.host_nodes.end());
  else
    context["cpu-affinity"] = cpus;
  return context;
}

void add_guest_nodes(Draft& draft) {
  const topology::Placement& placement = draft.plan.placement;
  for (const topology::MemoryCell& cell : placement.cells) {
    Opts node("node");
    node.set("nodeid", cell.guest_node).set("memdev", fmt::format("ram{}", cell.guest_node));
    for (unsigned vcpu : cell.vcpus) node.set("cpus", vcpu);
    draft.args.add(
        "-numa", node,
        fmt::format("the guest sees host node {} as its node {}", fmt::join(cell.host_nodes, ","), cell.guest_node),
        "host");
  }
  for (std::size_t from = 0; from < placement.distances.size(); ++from) {
    for (std::size_t to = from + 1; to < placement.distances[from].size(); ++to) {
      draft.args.add("-numa", Opts("dist").set("src", from).set("dst", to).set("val", placement.distances[from][to]),
                     "the host's own distance", "host");
    }
  }
}

void check_memlock(Draft& draft) {
  if (!(draft.spec.memory.lock || draft.needs.locked_memory) || draft.facts.root || !draft.facts.memlock ||
      *draft.facts.memlock >= memlock_need(draft))
    return;
  draft.problem(
      "memory.lock",
      fmt::format("needs a memlock limit of {}, this user has {}", to_string(topology::Bytes{memlock_need(draft)}),
                  to_string(topology::Bytes{*draft.facts.memlock})),
      "raise it in /etc/security/limits.d, run as root, or set lock = false");
}

}  // namespace

// mlockall() covers guest memory and QEMU's own: heap, stacks, and TCG's translation buffer.
std::uint64_t memlock_need(const Draft& draft) {
  return (draft.spec.memory.size + topology::gib(draft.kvm() ? 1 : 2)).count;
}

void add_memory(Draft& draft) {
  const topology::Placement& placement = draft.plan.placement;
  draft.args.add("-m", Opts(fmt::format("{}k", draft.spec.memory.size.count / 1024)), "the guest's memory",
                 "spec memory.size");
  const bool huge = placement.page > draft.host.base_page;
  const bool prealloc = draft.spec.memory.prealloc.value_or(huge);
  for (const topology::MemoryCell& cell : placement.cells) {
    const std::string id = fmt::format("ram{}", cell.guest_node);
    boost::json::object ram{
        {"qom-type", huge ? "memory-backend-memfd" : "memory-backend-ram"}, {"id", id}, {"size", cell.size.count}};
    if (huge) {
      ram["hugetlb"] = true;
      ram["hugetlbsize"] = placement.page.count;
    }
    if (draft.needs.shared_memory) {
      ram["qom-type"] = "memory-backend-memfd";
      ram["share"] = true;
    }
    if (!cell.host_nodes.empty()) {
      static constexpr const char* policies[] = {"bind", "preferred", "interleave"};
      ram["host-nodes"] = boost::json::array(cell.host_nodes.begin(), cell.host_nodes.end());
      ram["policy"] = policies[static_cast<int>(placement.policy)];
    }
    if (prealloc) {
      ram["prealloc"] = true;
      ram["prealloc-threads"] = std::clamp<std::uint64_t>(cell.vcpus.size(), 1, 16);
      if (draft.qemu.has("thread-context") && draft.qemu.has("memory-backend-memfd.prealloc-context")) {
        const std::string context = fmt::format("prealloc{}", cell.guest_node);
        draft.args.add("-object", thread_context(draft, cell, context),
                       "preallocation runs on the VM's own CPUs, near the pages", "default");
        ram["prealloc-context"] = context;
      }
    }
    draft.args.add("-object", ram,
                   huge ? fmt::format("{} pages of node {}, without a hugetlbfs mount", to_string(placement.page),
                                      fmt::join(cell.host_nodes, ","))
                   : draft.needs.shared_memory
                       ? std::string("base pages that another process may map: a device of it needs that")
                       : std::string("base pages; transparent huge pages where the host has them on"),
                   draft.spec.memory.page ? "spec memory.page" : "host");
  }
  if (placement.cells.size() > 1) add_guest_nodes(draft);
  add_overcommit(draft);
  check_memlock(draft);
}

}  // namespace launcher::parts
