// Where a process's memory really lies, and telling the kernel where it shall. The only file that includes <numaif.h>.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/placement.hpp"

namespace topology {

// One mapping of /proc/PID/numa_maps (kernel: Documentation/filesystems/proc.rst, mm/mempolicy.c show_numa_map).
struct MappedRange {
  std::uint64_t start = 0;
  std::string policy;  // "default", "bind:0", "prefer:1", "interleave:0-1"
  std::string file;    // "/memfd:memory-backend-memfd", "" for anonymous
  bool huge = false;   // hugetlb
  Bytes page;          // kernelpagesize_kB
  std::map<unsigned, std::uint64_t> pages_on_node;
  friend bool operator==(const MappedRange&, const MappedRange&) = default;
};

using PageCounts = std::map<std::pair<unsigned, std::uint64_t>, std::uint64_t>;  // by (node, page size in bytes)
PageCounts count_pages(const std::vector<MappedRange>& ranges);

std::expected<std::vector<MappedRange>, std::string> parse_numa_maps(std::string_view text);
std::expected<std::vector<MappedRange>, std::string> read_numa_maps(pid_t pid);

// The node of a host that has memory on no other.
std::optional<unsigned> only_node();

// The process's memory in huge pages of a pool, all of this size. Where there is one node /proc/PID/status has their sum; elsewhere
// numa_maps is read, for which the kernel walks all page tables of the process: milliseconds.
std::expected<std::vector<MappedRange>, std::string> read_huge_pages(pid_t pid, Bytes page);

// Memory policy of the calling thread, inherited over fork and exec (set_mempolicy): QEMU's own allocations. preferred
// takes the first node. An empty set of nodes means the default policy.
std::error_code set_own_memory_policy(MemoryPolicy policy, const std::vector<unsigned>& nodes);

// The same of one mapping of the caller's (mbind(2)), for pages that are not there yet.
std::error_code set_memory_policy(void* mapping, Bytes size, MemoryPolicy policy, const std::vector<unsigned>& nodes);

// sched_setaffinity / sched_getaffinity; tid 0 is the caller. Sizes beyond 1024 CPUs are handled.
std::error_code set_affinity(pid_t tid, const CpuSet& cpus);
std::expected<CpuSet, std::error_code> get_affinity(pid_t tid);

}  // namespace topology
