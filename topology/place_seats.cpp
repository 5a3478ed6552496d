// Seats: which CPU each vCPU gets, what the VM then owns, and the CPUs of all its other threads.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

std::string thread_note(const View& view, const CoreNeed& need) {
  const auto& r = view.request;
  if (view.threads_per_core == 1 || r.threads) return "";
  if (r.siblings == Siblings::isolate) return "cpu.threads = \"auto\" became 1: siblings = \"isolate\"";
  if (need.filled)
    return "cpu.threads = \"auto\" became 1: the vCPUs fill every thread of cores that have different numbers of them";
  if (need.threads > 1)
    return fmt::format("cpu.threads = \"auto\" became {}{}: every {} vCPUs are the threads of one whole core",
                       need.threads,
                       need.threads == view.threads_per_core ? ", as on the host"
                                                             : fmt::format(" of the host's {}", view.threads_per_core),
                       need.threads);
  if (r.vcpus % view.threads_per_core != 0)
    return fmt::format("cpu.threads = \"auto\" became 1: {} no multiple of the host's {} threads per core",
                       r.vcpus == 1 ? "1 vCPU is" : fmt::format("{} vCPUs are", r.vcpus), view.threads_per_core);
  if (!cells_keep_cores(r, view.threads_per_core))
    return fmt::format("cpu.threads = \"auto\" became 1: cores of {} threads would be of two nodes of [[numa]]",
                       view.threads_per_core);
  return "cpu.threads = \"auto\" became 1: each vCPU gets a core of its own";
}

CpuSet as_set(const std::vector<std::optional<unsigned>>& cpus) {
  CpuSet set;
  for (const auto cpu : cpus)
    if (cpu) set.add(*cpu);
  return set;
}

// ---- a list of the user's

// The refusals: siblings that other VMs own. (CPUs that others own are refused by check().)
Problems split_cores(const View& view, const CpuSet& listed) {
  Problems problems;
  for (const Pu& pu : view.host.pus) {
    if (listed.contains(pu.cpu) || !view.held.contains(pu.cpu)) continue;
    const CpuSet mine = view.host.cpus_of_core(pu.core) & listed;
    if (mine.empty()) continue;
    problems.push_back({"cpu.pin",
                        fmt::format("CPU {} shares a core with CPU {}, which belongs to the VM {}", mine.to_string(),
                                    pu.cpu, view.taken.owner_of(pu.cpu).value_or("?")),
                        {},
                        "name CPUs of whole free cores"});
  }
  return problems;
}

// "; this order is: 4,76,5,77" where the same CPUs in another order are; else "".
std::string order_of_siblings(const View& view, unsigned threads) {
  std::map<unsigned, std::vector<unsigned>> by_core;
  for (const unsigned cpu : view.request.listed) by_core[view.host.pu(cpu)->core].push_back(cpu);
  std::vector<unsigned> order;
  for (auto& [core, cpus] : by_core) {
    if (cpus.size() != threads) return "";
    std::sort(cpus.begin(), cpus.end());
    order.insert(order.end(), cpus.begin(), cpus.end());
  }
  return fmt::format("; in this order they are: pin = \"{}\"", fmt::join(order, ","));
}

unsigned threads_for_list(const View& view, std::vector<std::string>& notes) {
  const auto& r = view.request;
  if (r.threads) {
    if (!mirrors(view, *r.threads))
      notes.push_back(fmt::format("cpu.threads = {}, but the listed CPUs are not in rows of {} on one core each{}",
                                  *r.threads, *r.threads, order_of_siblings(view, *r.threads)));
    return *r.threads;
  }
  for (unsigned threads = view.threads_per_core; threads >= 1; --threads)
    if (r.vcpus % threads == 0 && shape_fits(r, threads) && mirrors(view, threads)) {
      if (view.threads_per_core > 1)
        notes.push_back(fmt::format("cpu.threads = \"auto\" became {}, as the listed CPUs lie", threads));
      return threads;
    }
  unsigned threads = 1;
  while (threads < view.threads_per_core && !shape_fits(r, threads)) ++threads;
  notes.push_back(
      fmt::format("cpu.threads = \"auto\" became {}: the listed CPUs share cores in no regular order", threads));
  return threads;
}

// ---- helpers

// With no housekeeping CPU anywhere: the last free core that is not the VM's, nearest first.
CpuSet left_over_core(const View& view, const CpuSet& own, const std::vector<unsigned>& nearest) {
  const CpuSet avoid = own | view.host.isolated;
  for (const unsigned node : nearest)
    for (auto core = view.cores.rbegin(); core != view.cores.rend(); ++core) {
      CpuSet cpus;
      for (const unsigned cpu : core->cpus) cpus.add(cpu);
      if (core->node == node && !cpus.intersects(avoid)) return cpus;
    }
  return {};
}

// Where one node serves another's CPUs: those that are on the vCPUs' own.
CpuSet of_own_nodes(const View& view, const CpuSet& own, const CpuSet& cpus) {
  if (&view.whole == &view.host) return {};
  std::set<unsigned> nodes;
  for (const unsigned cpu : own.to_vector()) nodes.insert(view.whole.pu(cpu)->node);
  CpuSet beside;
  for (const unsigned node : nodes) beside |= cpus & view.whole.cpus_of_node(node);
  return beside;
}

}  // namespace

bool mirrors(const View& view, unsigned threads) {
  const auto& listed = view.request.listed;
  std::vector<unsigned> cores;
  for (std::size_t i = 0; i < listed.size(); ++i) {
    const unsigned core = view.host.pu(listed[i])->core;
    if (i % threads == 0 ? std::find(cores.begin(), cores.end(), core) != cores.end() : cores.back() != core)
      return false;
    if (i % threads == 0) cores.push_back(core);
  }
  return true;
}

Seats seat_chosen(const View& view, const Choice& choice) {
  Seats seats{.cpus = {}, .threads = choice.need.threads, .exclusive = {}, .notes = {}};
  for (const Share& share : choice.shares) {
    std::vector<unsigned> caches;
    std::size_t missing = std::size_t{share.cores} * choice.need.threads;
    for (const Core* core : pick_cores(view, choice.need, share.node, share.cores)) {
      const std::size_t here = std::min(missing, choice.need.filled ? core->cpus.size() : choice.need.threads);
      seats.cpus.insert(seats.cpus.end(), core->cpus.begin(), core->cpus.begin() + static_cast<std::ptrdiff_t>(here));
      missing -= here;
      for (const unsigned cpu : core->cpus) seats.exclusive.add(cpu);
      if (caches.empty() || caches.back() != core->l3) caches.push_back(core->l3);
    }
    if (caches.size() > 1)
      seats.notes.push_back(fmt::format("on node {} the vCPUs span {} last-level caches ({}): none has {} {}",
                                        share.node, caches.size(), numbers(caches), share.cores,
                                        free_ones(view, {.kind = choice.need.kind, .filled = choice.need.filled})));
  }
  if (auto note = thread_note(view, choice.need); !note.empty()) seats.notes.push_back(std::move(note));
  if (choice.need.kind && view.request.kind == CpuKindChoice::automatic && *choice.need.kind == view.kinds.front() &&
      *choice.need.kind != std::ranges::max(view.kinds))
    seats.notes.push_back(
        fmt::format("the vCPUs get {}: isolcpus has enough of them", cores_of_kind(view, choice.need.kind)));
  if (const CpuSet seated = as_set(seats.cpus); !view.host.isolated.empty() && !view.host.isolated.contains(seated))
    seats.notes.push_back(
        fmt::format("of the vCPUs' CPUs {} are not isolated (isolcpus has {}): the host's tasks run there",
                    (seated - view.host.isolated).to_string(), view.host.isolated.to_string()));
  const CpuSet idle = seats.exclusive - as_set(seats.cpus);
  if (!idle.empty())
    seats.notes.push_back(fmt::format("CPUs {} stay idle: siblings of vCPUs' CPUs, owned by the VM", idle.to_string()));
  return seats;
}

std::expected<Seats, Problems> seat_listed(const View& view) {
  const auto& r = view.request;
  Seats seats{.cpus = {r.listed.begin(), r.listed.end()}, .threads = 1, .exclusive = {}, .notes = {}};
  const CpuSet listed = as_set(seats.cpus);
  if (auto problems = split_cores(view, listed); !problems.empty()) return std::unexpected(std::move(problems));
  seats.threads = threads_for_list(view, seats.notes);
  CpuSet siblings;
  std::vector<unsigned> kinds;
  for (const unsigned cpu : r.listed) {
    const Pu& pu = *view.host.pu(cpu);
    if (view.threads_per_core > 1) siblings |= view.host.cpus_of_core(pu.core);
    if (std::find(kinds.begin(), kinds.end(), pu.kind) == kinds.end()) kinds.push_back(pu.kind);
  }
  siblings -= listed;
  const CpuSet kept = listed & view.housekeeping;
  if (!kept.empty())
    seats.notes.push_back(
        fmt::format("cpu.pin names CPUs {} that the host keeps for itself (housekeeping)", kept.to_string()));
  if (siblings.intersects(view.housekeeping))
    seats.notes.push_back(fmt::format("CPUs {} share cores with the VM's but stay the host's (housekeeping)",
                                      (siblings & view.housekeeping).to_string()));
  siblings -= view.housekeeping;
  if (!siblings.empty())
    seats.notes.push_back(
        fmt::format("CPUs {} stay idle: siblings of vCPUs' CPUs, owned by the VM", siblings.to_string()));
  if (kinds.size() > 1) seats.notes.push_back("cpu.pin mixes faster and slower kinds of cores");
  seats.exclusive = listed | siblings;
  return seats;
}

Helpers helper_cpus(const View& view, const Seats& seats, const std::vector<unsigned>& nodes) {
  const CpuSet own = as_set(seats.cpus);
  if (view.request.emulator) {
    Helpers helpers{*view.request.emulator, {}};
    if (helpers.cpus.size() > 1 && view.host.isolated.contains(helpers.cpus))
      helpers.notes.push_back(fmt::format(
          "cpu.emulator = {}: all are isolated, and the kernel balances nothing there: its threads will share one",
          helpers.cpus.to_string()));
    if (helpers.cpus.intersects(own))
      helpers.notes.push_back(fmt::format("cpu.emulator shares CPUs {} with vCPUs", (helpers.cpus & own).to_string()));
    return helpers;
  }
  const auto nearest = by_distance(view, nodes, view.cpu_nodes);
  const CpuSet taken = view.held | seats.exclusive | view.host.isolated;
  const CpuSet keepers = view.housekeeping - taken;
  CpuSet here;
  for (const unsigned node : nodes) here |= keepers & view.host.cpus_of_node(node);
  if (const CpuSet beside = of_own_nodes(view, own, here); !beside.empty()) return {beside, {}};
  if (!here.empty()) return {here, {}};
  for (const unsigned node : nearest)
    if (const CpuSet there = keepers & view.host.cpus_of_node(node); !there.empty())
      return {there,
              {fmt::format("cpu.emulator = \"auto\" became {} on node {}: node {} has no housekeeping CPU",
                           there.to_string(), node, numbers(nodes))}};
  if (const CpuSet spare = left_over_core(view, seats.exclusive, nearest); !spare.empty())
    return {spare,
            {fmt::format("cpu.emulator = \"auto\" became {}: no housekeeping CPU; these are not exclusive",
                         spare.to_string())}};
  if (!view.host.isolated.empty())  // the rest of the host is what isolcpus leaves to such threads
    for (const unsigned node : nearest)
      if (const CpuSet loose = view.host.cpus_of_node(node) - taken; !loose.empty())
        return {loose,
                {fmt::format("cpu.emulator = \"auto\" became {}: no housekeeping CPU; these are not exclusive",
                             loose.to_string())}};
  if (own.size() > 1 && view.host.isolated.contains(own))
    return {
        {own.first()},
        {fmt::format("cpu.emulator = \"auto\" became {}: no CPU is left over, and of isolated ones the kernel would "
                     "use one only",
                     own.first())}};
  return {own,
          {fmt::format("cpu.emulator = \"auto\" became {}: no CPU is left over, so the emulator shares the vCPUs' CPUs",
                       own.to_string())}};
}

}  // namespace topology::parts
