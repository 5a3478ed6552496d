// Cores: the host's free whole ones, what a guest needs of them, and which of a node's to take.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

// Whole cores with nobody on any of their PUs. `usable` has the free CPUs.
std::vector<Core> whole_free_cores(const HostTopology& host, const CpuSet& usable) {
  std::vector<const Pu*> by_core;
  by_core.reserve(host.pus.size());
  for (const Pu& pu : host.pus) by_core.push_back(&pu);
  std::sort(by_core.begin(), by_core.end(),
            [](const Pu* a, const Pu* b) { return a->core != b->core ? a->core < b->core : a->cpu < b->cpu; });
  std::vector<Core> cores;
  for (std::size_t at = 0; at < by_core.size();) {
    std::size_t end = at;
    bool free = true;
    for (; end < by_core.size() && by_core[end]->core == by_core[at]->core; ++end)
      free = free && usable.contains(by_core[end]->cpu);
    if (free) {
      const Pu& first = *by_core[at];
      Core& core = cores.emplace_back(Core{first.core, first.node, first.l3, first.package, first.kind, {}, 0, false});
      for (; at < end; ++at) core.cpus.push_back(by_core[at]->cpu);
      if (!host.isolated.empty())
        core.isolated =
            static_cast<unsigned>(std::stable_partition(core.cpus.begin(), core.cpus.end(),
                                                        [&host](unsigned cpu) { return host.isolated.contains(cpu); }) -
                                  core.cpus.begin());
    }
    at = end;
  }
  return cores;
}

std::map<unsigned, Room> rooms_of(const HostTopology& host, const HostPolicy& policy, const Reservations& taken) {
  std::map<unsigned, Room> rooms;
  for (const Node& node : host.nodes) {
    const Bytes free = free_memory(host, node.id, taken);
    Room& room = rooms[node.id];
    room.free = free > policy.keep_free ? free - policy.keep_free : Bytes{};
    for (const HugePagePool& pool : node.pools)
      room.in_pool[pool.page.count] = free_pages(host, node.id, pool.page, taken);
  }
  return rooms;
}

// The most threads that a core of this kind (of any kind) has; the least of those over the kinds when they may be
// mixed.
unsigned threads_of_kind(const HostTopology& host, std::optional<unsigned> kind) {
  std::map<unsigned, unsigned> per_core, most;
  for (const Pu& pu : host.pus) {
    if (kind && pu.kind != *kind) continue;
    auto& of_kind = most[pu.kind];
    of_kind = std::max(of_kind, ++per_core[pu.core]);
  }
  unsigned least = 0;
  for (const auto& [ignored, threads] : most) least = least == 0 ? threads : std::min(least, threads);
  return std::max(1u, least);
}

// The numbers of the L3s that the request names; "largest" may be several. nullopt: it names none.
std::optional<CpuSet> caches_asked(const PlacementRequest& request, const HostTopology& host) {
  if (request.l3) return CpuSet{*request.l3};
  if (!request.largest_l3) return std::nullopt;
  CpuSet largest;
  Bytes most;
  for (const Cache& cache : host.caches) {
    if (cache.size < most || host.cpus_of_l3(cache.l3).empty()) continue;
    if (cache.size > most) largest = {};
    most = cache.size;
    largest.add(cache.l3);
  }
  return largest;
}

// For how many vCPUs a kind has isolated cores: isolcpus= keeps them for such as these, so enough of them go before faster ones.
unsigned isolated_room(const View& view, unsigned kind) {
  unsigned room = 0;
  for (const Core& core : view.cores)
    if (core.isolated != 0 && core.kind == kind) room += view.request.siblings == Siblings::isolate ? 1 : core.isolated;
  return room;
}

std::vector<std::optional<unsigned>> kinds_to_try(const View& view) {
  if (const auto kind = kind_asked(view)) return {kind};
  if (view.kinds.size() == 1 || view.request.kind == CpuKindChoice::any) return {std::nullopt};
  return {view.kinds.begin(), view.kinds.end()};
}

// Free cores of some threads, and some of fewer: an offline sibling, another kind, a cpuset that splits a core.
bool threads_differ(const View& view) {
  return std::ranges::any_of(view.cores, [&](const Core& core) { return core.cpus.size() < view.threads_per_core; }) &&
         std::ranges::any_of(view.cores, [](const Core& core) { return core.cpus.size() > 1; });
}

}  // namespace

View view_of(const PlacementRequest& request, const HostTopology& host, const HostTopology& whole,
             const HostPolicy& policy, const Reservations& taken) {
  View view{.request = request,
            .host = host,
            .whole = whole,
            .policy = policy,
            .taken = taken,
            .housekeeping = policy.housekeeping ? *policy.housekeeping : default_housekeeping(whole),
            .held = taken.cpus(),
            .threads_per_core = host.threads_per_core(),
            .kinds = {},
            .caches = caches_asked(request, host),
            .cores = {},
            .rooms = rooms_of(host, policy, taken),
            .cpu_nodes = {},
            .homes = {}};
  CpuSet usable = host.all_cpus() - view.housekeeping - view.held;
  if (request.emulator) usable -= *request.emulator;
  view.cores = whole_free_cores(host, usable);
  if (view.caches) std::erase_if(view.cores, [&view](const Core& core) { return !view.caches->contains(core.l3); });
  if (&whole != &host)
    for (Core& core : view.cores) core.far = whole.pu(core.cpus.front())->node != core.node;
  for (const Pu& pu : host.pus) {
    if (std::find(view.kinds.begin(), view.kinds.end(), pu.kind) == view.kinds.end()) view.kinds.push_back(pu.kind);
    if (std::find(view.cpu_nodes.begin(), view.cpu_nodes.end(), pu.node) == view.cpu_nodes.end())
      view.cpu_nodes.push_back(pu.node);
  }
  std::sort(view.kinds.rbegin(), view.kinds.rend());
  if (request.kind == CpuKindChoice::automatic && !host.isolated.empty())
    std::ranges::stable_partition(view.kinds,
                                  [&](unsigned kind) { return isolated_room(view, kind) >= request.vcpus; });
  std::sort(view.cpu_nodes.begin(), view.cpu_nodes.end());
  for (const unsigned device : request.device_nodes)
    if (const auto home = home_within(host, whole, device)) view.homes.push_back(*home);
  return view;
}

std::optional<unsigned> kind_asked(const View& view) {
  std::set<unsigned> there;
  for (const Pu& pu : view.whole.pus) there.insert(pu.kind);
  if (there.size() < 2) return std::nullopt;
  switch (view.request.kind) {
    case CpuKindChoice::fastest:
      return *there.rbegin();
    case CpuKindChoice::efficient:
      return there.size() > 2 ? *std::next(there.begin()) : *there.begin();
    case CpuKindChoice::low_power:
      return *there.begin();
    case CpuKindChoice::any:
    case CpuKindChoice::automatic:
      break;
  }
  return std::nullopt;
}

std::string cores_of_kind(const View& view, std::optional<unsigned> kind) {
  return kind ? view.whole.kind_name(*kind) : "cores";
}

std::string free_ones(const View& view, const CoreNeed& need) {
  std::string text = need.filled ? "free threads of whole cores" : "whole free " + cores_of_kind(view, need.kind);
  if (view.caches)
    text += fmt::format(" of L3{} {}{}", view.caches->size() == 1 ? "" : "s", view.caches->to_string(),
                        view.request.largest_l3 ? " (the largest)" : "");
  return text;
}

std::vector<CoreNeed> core_needs(const View& view) {
  const auto& r = view.request;
  std::vector<CoreNeed> needs;
  const auto add = [&](unsigned threads, std::optional<unsigned> kind) {
    const CoreNeed need{r.vcpus / threads, threads, kind};
    if (r.vcpus % threads == 0 && shape_fits(r, threads) && std::find(needs.begin(), needs.end(), need) == needs.end())
      needs.push_back(need);
  };
  for (const auto kind : kinds_to_try(view)) {
    if (r.siblings == Siblings::isolate) {
      add(1, kind);
      continue;
    }
    if (r.siblings == Siblings::require) {
      const unsigned threads = r.threads.value_or(threads_of_kind(view.host, kind));
      if (threads > 1) add(threads, kind);
      continue;
    }
    if (r.threads) {
      add(*r.threads, kind);
      continue;
    }
    if (!kind) add(view.threads_per_core, kind);  // of any kind: those with siblings alone, where they are enough
    for (unsigned t = threads_of_kind(view.host, kind); t >= 1; --t) add(t, kind);
    if (!kind && r.cells.empty() && shape_fits(r, 1) && threads_differ(view)) needs.push_back({r.vcpus, 1, kind, true});
  }
  // A shape of the user's own may leave only a number of threads between one and the host's.
  for (unsigned t = view.threads_per_core; r.siblings != Siblings::isolate && needs.empty() && t > 1; --t)
    for (const auto kind : kinds_to_try(view)) add(t, kind);
  return needs;
}

bool has_housekeeping(const View& view, unsigned node) {
  if (view.request.emulator) return false;
  return view.host.cpus_of_node(node).intersects(view.housekeeping - view.held - view.host.isolated);
}

bool is_isolated(const Core& core, const CoreNeed& need) {
  return core.isolated >= (need.filled ? core.cpus.size() : need.threads);
}

unsigned places(const Core& core, const CoreNeed& need) {
  return need.filled ? static_cast<unsigned>(core.cpus.size()) : 1;
}

bool serves(const Core& core, const CoreNeed& need) {
  return core.cpus.size() >= need.threads && (!need.kind || core.kind == *need.kind);
}

std::map<unsigned, unsigned> cores_by_node(const View& view, const CoreNeed& need) {
  std::map<unsigned, unsigned> counts;
  for (const Core& core : view.cores)
    if (serves(core, need)) counts[core.node] += places(core, need);
  return counts;
}

namespace {

using Group = std::vector<const Core*>;  // of one L3

unsigned places_of(const Group& group, const CoreNeed& need) {
  unsigned sum = 0;
  for (const Core* core : group) sum += places(*core, need);
  return sum;
}

// The group that holds count with the least left over; end() when none does. Ties: the first.
std::vector<Group>::iterator tightest(std::vector<Group>& groups, const CoreNeed& need, unsigned count) {
  auto best = groups.end();
  for (auto group = groups.begin(); group != groups.end(); ++group)
    if (const unsigned here = places_of(*group, need);
        here >= count && (best == groups.end() || here < places_of(*best, need)))
      best = group;
  return best;
}

// From these cores, as few last-level caches as can be.
Group pick_near(const Group& from_cores, const CoreNeed& need, unsigned count) {
  std::map<unsigned, Group> by_l3;
  for (const Core* core : from_cores) by_l3[core->l3].push_back(core);
  std::vector<Group> groups;
  for (auto& [l3, group] : by_l3) {
    std::sort(group.begin(), group.end(),
              [](const Core* a, const Core* b) { return a->kind != b->kind ? a->kind > b->kind : a->core < b->core; });
    groups.push_back(std::move(group));
  }
  Group picked;
  for (unsigned missing = count; missing > 0 && !groups.empty();) {
    auto from = tightest(groups, need, missing);
    if (from == groups.end())  // none holds the rest: empty the fullest
      from = std::ranges::max_element(groups, {}, [&need](const Group& group) { return places_of(group, need); });
    for (const Core* core : *from) {
      if (missing == 0) break;
      missing -= std::min(missing, places(*core, need));
      picked.push_back(core);
    }
    groups.erase(from);
  }
  return picked;
}

}  // namespace

// Isolated cores first, then those with memory of their own, then what is left.
std::vector<const Core*> pick_cores(const View& view, const CoreNeed& need, unsigned node, unsigned count) {
  std::map<std::pair<bool, bool>, Group> tiers;
  for (const Core& core : view.cores)
    if (core.node == node && serves(core, need)) tiers[{!is_isolated(core, need), core.far}].push_back(&core);
  Group picked;
  for (const auto& [ignored, tier] : tiers) {
    const unsigned left = count - std::min(count, places_of(picked, need));
    const Group more = pick_near(tier, need, std::min(places_of(tier, need), left));
    picked.insert(picked.end(), more.begin(), more.end());
  }
  std::sort(picked.begin(), picked.end(),
            [](const Core* a, const Core* b) { return a->l3 != b->l3 ? a->l3 < b->l3 : a->core < b->core; });
  return picked;
}

}  // namespace topology::parts
