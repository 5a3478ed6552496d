// What is already spoken for: the CPUs and pages of every live VM, the CPUs and pages the host keeps. The rule: plain
// values handed to place(); who reads them from /run/vmrun is the launcher's affair.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/host_topology.hpp"

namespace topology {

struct PageClaim {
  unsigned node = 0;
  Bytes page;
  std::uint64_t pages = 0;                      // what the VM uses
  bool huge() const { return page >= mib(2); }  // of a pool; else the node's ordinary memory
  friend bool operator==(const PageClaim&, const PageClaim&) = default;
};

struct Reservation {
  std::string owner;                  // VM name
  CpuSet cpus = {};                   // given to nobody else: vCPUs, iothreads and vhost workers with CPUs of their own
  std::vector<PageClaim> pages = {};  // huge pages; base pages as page = base_page
  std::vector<std::string> things = {};  // what else only one VM may have: "MAC address 52:54:00:01:02:03"
  friend bool operator==(const Reservation&, const Reservation&) = default;
};

// Host-wide policy (host.toml). Source of the default: guide 002 "reserve housekeeping CPUs", guide 001 3.2.7 "one
// housekeeping CPU for each NUMA node".
struct HostPolicy {
  std::optional<CpuSet> housekeeping;  // nullopt: default_housekeeping()
  Bytes keep_free = mib(512);          // per node: memory a pool raise must leave to the host
  friend bool operator==(const HostPolicy&, const HostPolicy&) = default;
};

struct Reservations {
  std::vector<Reservation> vms;
  CpuSet cpus() const;  // of all VMs
  std::optional<std::string> owner_of(unsigned cpu) const;
};

// The whole first core (all its PUs) of each node that has more than two cores. A node with one or two cores keeps
// none; isolated cores and CPUs that are not allowed never are; but a machine on which that leaves no housekeeping CPU at all keeps none (its VMs' emulator threads then share).
CpuSet default_housekeeping(const HostTopology& host);

// CPUs place() may give: all minus housekeeping minus what VMs have.
CpuSet free_cpus(const HostTopology& host, const HostPolicy& policy, const Reservations& taken);

// Huge pages of this size that place() may give from the node's pool as it stands: what the kernel calls free, but
// never more than the pool less what VMs claim of it (a VM that does not preallocate holds pages it has not touched).
std::uint64_t free_pages(const HostTopology& host, unsigned node, Bytes page, const Reservations& taken);

// Memory outside the pools that is free on the node, by the same rule: never more than the node's memory less the pools
// and the claims. What the host keeps (HostPolicy::keep_free) is still in it.
Bytes free_memory(const HostTopology& host, unsigned node, const Reservations& taken);

}  // namespace topology
