// What a machine has, as plain values: CPUs, cores, L3 groups, CPU kinds, nodes, distances, huge-page pools, where PCI
// devices sit. The rule: no I/O and no opinion here; read_host fills it, place() reads it, JSON carries it both ways.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"

namespace topology {

// One hardware thread. core, l3 and package are numbers unique over the machine (not per package), in CPU order of
// their first PU, so that they are stable whatever the firmware calls them.
struct Pu {
  unsigned cpu = 0;  // the kernel's CPU number
  unsigned core = 0;
  unsigned l3 = 0;  // PUs that share a last-level cache (a core of its own L2 counts where there is no L3)
  unsigned package = 0;
  unsigned node = 0;  // index into HostTopology::nodes is NOT meant: the kernel's node number
  unsigned kind = 0;  // by what the core is (core_kinds): 0 is the most frugal kind, higher is faster; all 0 if uniform
  friend bool operator==(const Pu&, const Pu&) = default;
};

struct HugePagePool {
  Bytes page;               // 2M or 1G
  std::uint64_t total = 0;  // nr_hugepages
  std::uint64_t free = 0;   // free_hugepages
  friend bool operator==(const HugePagePool&, const HugePagePool&) = default;
};

struct Node {
  unsigned id = 0;
  Bytes memory_total;
  Bytes memory_free;                // MemFree plus clean page cache (Inactive(file)): what a pool raise can take
  std::vector<HugePagePool> pools;  // ascending page size
  std::vector<unsigned> distances;  // to nodes[0], nodes[1], ... ; 10 is local; may be empty when unknown
  friend bool operator==(const Node&, const Node&) = default;
};

struct PciDevice {
  std::string address;                  // "0000:31:00.0"
  std::string name;                     // "Ethernet controller: Intel ..." as hwloc names it; may be empty
  std::string class_id;                 // "0200" as in lspci -n
  int node = -1;                        // -1: the firmware does not say
  std::vector<std::string> os_devices;  // "eth0", "nvme0n1", ... the kernel's names for it
  friend bool operator==(const PciDevice&, const PciDevice&) = default;
};

// A last-level cache whose size is known.
struct Cache {
  unsigned l3 = 0;  // as in Pu
  Bytes size;
  friend bool operator==(const Cache&, const Cache&) = default;
};

// How much of a size of huge pages may still be had, of all nodes together.
struct PageLimit {
  Bytes page, left;
  friend bool operator==(const PageLimit&, const PageLimit&) = default;
};

// What this process may use of the machine, where that is less than all of it: by its affinity, its cgroup, its memory policy.
struct Allowed {
  std::optional<CpuSet> cpus;     // nullopt: all
  std::optional<CpuSet> nodes;    // whose memory it may have; nullopt: all
  std::optional<Bytes> memory;    // in base pages, of all nodes together; nullopt: no limit
  bool huge_pages_count = false;  // memory bounds huge pages, too (cgroup2 mounted with memory_hugetlb_accounting)
  std::vector<PageLimit> pages;   // the cgroup controller hugetlb's; sizes that are not here have no limit
  std::vector<std::string> by;    // what bounds it, each in words: "CPUs 0-3: the cpuset of cgroup /batch/7"
  std::optional<Bytes> left_of(Bytes page) const {  // of huge pages of this size; nullopt: no limit
    for (const PageLimit& limit : pages)
      if (limit.page == page) return limit.left;
    return std::nullopt;
  }
  friend bool operator==(const Allowed&, const Allowed&) = default;
};

struct HostTopology {
  std::string cpu_vendor;  // "GenuineIntel", "AuthenticAMD", "HygonGenuine", may be empty
  std::string cpu_model;
  std::string own_id;       // of this machine alone: made from its machine-id, which it does not tell; "": not known
  std::vector<Pu> pus;      // ascending cpu; all that are online
  std::vector<Node> nodes;  // ascending id; one may have no CPUs (then it is never chosen by itself), or no memory
  std::vector<std::string> kind_names;  // by Pu::kind, where it is known what they are: "E-cores", "P-cores"
  std::vector<Cache> caches;            // ascending l3
  std::vector<PciDevice> devices;
  CpuSet isolated;  // isolcpus as the kernel reports it
  Allowed allowed;
  Bytes base_page = kib(4);

  const Pu* pu(unsigned cpu) const;     // nullptr: no such CPU
  const Node* node(unsigned id) const;  // nullptr: no such node
  CpuSet all_cpus() const;
  CpuSet cpus_of_node(unsigned id) const;
  CpuSet cpus_of_core(unsigned core) const;
  CpuSet cpus_of_l3(unsigned l3) const;
  unsigned threads_per_core() const;           // the largest over all cores
  unsigned kinds() const;                      // how many CPU kinds: 1 on a uniform machine
  std::string kind_name(unsigned kind) const;  // "P-cores"; "cores" on a uniform machine
  bool is_amd() const;                         // AMD's CPUs, or Hygon's, which are theirs in all that KVM is about
  CpuSet allowed_cpus() const;                 // those of all_cpus() that this process may use
  const HugePagePool* pool(unsigned node_id, Bytes page) const;
  unsigned distance(unsigned from, unsigned to) const;  // 10 if equal, 20 when unknown

  friend bool operator==(const HostTopology&, const HostTopology&) = default;
};

// JSON both ways: what `vmrun host --json` writes under "host" and `vmrun plan --host FILE` reads. Compact where
// machines are large (4096 PUs): PUs are written per core as cpulists. from_json(to_json(x)) == x.
std::string to_json(const HostTopology& host);
std::expected<HostTopology, std::string> host_from_json(std::string_view json);

}  // namespace topology
