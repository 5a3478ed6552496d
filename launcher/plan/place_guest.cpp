// Where the VM lies: what place() is asked, what of its answer goes into the plan, and why there is none.
#include <fmt/format.h>

#include <set>
#include <utility>

#include "launcher/plan/parts.hpp"
#include "topology/place.hpp"

namespace launcher::parts {

namespace {

// What place() is asked.
topology::PlacementRequest placement_request(const Draft& draft) {
  const Spec& spec = draft.spec;
  topology::PlacementRequest request;
  request.vcpus = spec.cpu.count;
  request.threads = spec.cpu.threads;
  request.sockets = spec.cpu.sockets;
  request.cores = spec.cpu.cores;
  request.pinning = spec.cpu.pin;
  request.listed = spec.cpu.pin_list;
  request.siblings = spec.cpu.siblings;
  request.emulator = spec.cpu.emulator;
  request.kind = spec.cpu.kind;
  request.l3 = spec.cpu.host_l3;
  request.largest_l3 = spec.cpu.largest_l3;
  request.own_cpus = spec.cpu.pm || spec.cpu.dedicated.value_or(false) || spec.host.isolate == Wish::yes ||
                     spec.schedule.vcpu_fifo > 0;
  request.memory = spec.memory.max.value_or(spec.memory.size);  // all it may become: pages are never given twice
  if (spec.memory.max) request.starts_with = spec.memory.size;
  request.page = spec.memory.page;
  if (spec.memory.merge && !request.page) request.page = topology::kib(4);  // KSM merges no others
  request.may_reserve_pages = draft.facts.root;
  request.nodes = spec.memory.nodes.value_or(std::vector<unsigned>{});
  request.policy = spec.memory.policy;
  request.cells = asked_cells(spec);
  std::set<std::pair<std::string, unsigned>> pooled;
  for (const auto& [device, facts, wanted] : draft.devices) {
    for (const IothreadWish& wish : wanted.iothreads)
      request.iothreads += wish.pool.empty() || pooled.emplace(wish.pool, wish.index).second ? 1 : 0;
    request.vhost_workers += wanted.vhost_workers;
    if (wanted.node) request.device_nodes.push_back(*wanted.node);
  }
  return request;
}

}  // namespace

bool own_cpus_by_auto(const Draft& draft) {
  topology::PlacementRequest request = placement_request(draft);
  request.pinning = topology::Pinning::automatic;
  request.listed.clear();
  request.emulator.reset();
  const auto placed = topology::place(request, draft.host, draft.config.policy, draft.taken);
  return placed && !placed->exclusive.empty() && !placed->exclusive.intersects(placed->emulator);
}

void place_guest(Draft& draft) {
  topology::PlacementRequest request = placement_request(draft);
  avoid_file_memory(draft, request);
  auto placed = topology::place(request, draft.host, draft.config.policy, draft.taken);
  if (!placed) {
    for (const topology::Unplaceable& why : placed.error()) {
      std::string what = why.what;
      for (const topology::NodeShortage& node : why.nodes) {
        what += fmt::format("; node {} has {} {}, this VM needs {}", node.node, node.have, node.what, node.need);
        if (!node.holder.empty()) what += " (" + node.holder + ")";
      }
      draft.problem(why.key, what, why.help);
    }
    return;
  }
  draft.placed = true;
  draft.plan.placement = std::move(*placed);
  draft.plan.pinned = draft.plan.placement.vcpus.front().cpu.has_value();  // on a small host "auto" may float
  draft.plan.reservation = {draft.spec.name, draft.plan.placement.exclusive, {}, {}};
  for (const topology::PageNeed& need : draft.plan.placement.pages) {
    // merged memory is meant to be promised more often than it is there
    if (need.page > draft.host.base_page || !draft.spec.memory.merge)
      draft.plan.reservation.pages.push_back({need.node, need.page, need.pages});
  }
  for (const std::string& text : draft.plan.placement.notes) draft.note(text);
  for (const topology::Reservation& other : draft.taken.vms) {
    if (other.cpus.intersects(draft.plan.placement.exclusive))
      draft.problem(
          "cpu.pin",
          "CPUs " + (other.cpus & draft.plan.placement.exclusive).to_string() + " belong to VM " + other.owner,
          "choose others");
  }
}

}  // namespace launcher::parts
