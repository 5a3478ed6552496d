// What VMs and the host's own work leave over. The rule: nothing is promised twice, even before the kernel's counters
// show that the first promise was used.
#include "topology/reservations.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace topology {

namespace {

std::uint64_t claimed(const Reservations& taken, unsigned node, Bytes page) {
  std::uint64_t pages = 0;
  for (const Reservation& vm : taken.vms)
    for (const PageClaim& claim : vm.pages)
      if (claim.node == node && claim.page == page) pages += claim.pages;
  return pages;
}

std::uint64_t less(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

CpuSet Reservations::cpus() const {
  CpuSet all;
  for (const Reservation& vm : vms) all |= vm.cpus;
  return all;
}

std::optional<std::string> Reservations::owner_of(unsigned cpu) const {
  for (const Reservation& vm : vms)
    if (vm.cpus.contains(cpu)) return vm.owner;
  return std::nullopt;
}

CpuSet default_housekeeping(const HostTopology& host) {
  struct Seen {
    unsigned first_core = 0;
    bool found = false;
    unsigned cores = 0;  // counted up to three: more than two is all that matters
    unsigned last[2] = {};
  };
  // A core of isolated CPUs is no place for the host's work: the kernel balances nothing there.
  std::set<unsigned> isolated;
  if (!host.isolated.empty())
    for (const Pu& pu : host.pus)
      if (host.isolated.contains(pu.cpu)) isolated.insert(pu.core);
  const auto allowed = [&host](const Pu& pu) { return !host.allowed.cpus || host.allowed.cpus->contains(pu.cpu); };
  std::map<unsigned, Seen> nodes;
  for (const Pu& pu : host.pus) {
    if (!allowed(pu)) continue;
    Seen& node = nodes[pu.node];
    if (!node.found && !isolated.contains(pu.core)) node.first_core = pu.core, node.found = true;
    const bool known =
        std::find(node.last, node.last + std::min(node.cores, 2u), pu.core) != node.last + std::min(node.cores, 2u);
    if (known || node.cores > 2) continue;
    if (node.cores < 2) node.last[node.cores] = pu.core;
    ++node.cores;
  }
  CpuSet housekeeping;
  for (const Pu& pu : host.pus)
    if (const Seen& node = nodes[pu.node]; node.cores > 2 && node.found && pu.core == node.first_core && allowed(pu))
      housekeeping.add(pu.cpu);
  return housekeeping;
}

CpuSet free_cpus(const HostTopology& host, const HostPolicy& policy, const Reservations& taken) {
  return host.allowed_cpus() - (policy.housekeeping ? *policy.housekeeping : default_housekeeping(host)) - taken.cpus();
}

std::uint64_t free_pages(const HostTopology& host, unsigned node, Bytes page, const Reservations& taken) {
  const HugePagePool* pool = host.pool(node, page);
  return pool == nullptr ? 0 : std::min(pool->free, less(pool->total, claimed(taken, node, page)));
}

Bytes free_memory(const HostTopology& host, unsigned id, const Reservations& taken) {
  const Node* node = host.node(id);
  if (node == nullptr) return {};
  std::uint64_t promised = claimed(taken, id, host.base_page) * host.base_page.count;
  for (const HugePagePool& pool : node->pools)
    promised += std::max(pool.total, claimed(taken, id, pool.page)) * pool.page.count;
  return Bytes{std::min(node->memory_free.count, less(node->memory_total.count, promised))};
}

}  // namespace topology
