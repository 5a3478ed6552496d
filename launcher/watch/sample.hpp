// What the kernel and QEMU have counted for a VM up to one instant. The rule: counters only, as they are read, never a verdict; what
// could not be read is named, and what this machine does not have is left out.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "topology/cpu_set.hpp"

namespace launcher::inline proof {
struct Subject;
}

namespace launcher::inline watch {

// A thread of the VM's (kernel: Documentation/scheduler/sched-stats.rst, proc(5)).
struct ThreadCounts {
  pid_t tid = 0;
  std::string role = {}, name = {};
  topology::CpuSet cpus = {};  // its mask at that instant
  char state = '?';            // 'R', 'S', 'T' stopped, 't' traced, ...
  std::uint64_t ran_ns = 0, delay_ns = 0, slices = 0;
  std::uint64_t voluntary = 0, involuntary = 0;
  std::optional<std::uint64_t> migrations = {};  // only a kernel with CONFIG_SCHED_DEBUG tells them
};

// One of the CPUs that are the VM's own.
struct CpuCounts {
  std::map<std::string, std::uint64_t> interrupts;  // by name: "LOC", "eth0-rx-0"
  std::map<std::string, std::uint64_t> softirqs;    // "NET_RX"
  std::uint64_t busy_ns = 0, steal_ns = 0, irq_ns = 0;
  std::optional<double> mhz;
  std::optional<std::uint64_t> throttled;  // times that the hardware slowed the core or package down for its heat
};

// A task that is not the VM's, which ran last on one of its CPUs or may run there.
struct ForeignTask {
  std::string name;
  std::uint64_t start = 0;              // clock ticks, so that a later one of that number is another
  std::optional<std::uint64_t> ran_ns;  // only where it ran last on a CPU that is looked at
  unsigned cpu = 0;                     // where it ran last
  bool running = false;                 // or ready to
  bool bound = false;                   // the kernel lets nobody move it
  std::uint64_t pages = 0;              // resident, of a process's main thread
};

struct MemoryCounts {
  std::optional<std::uint64_t>
      remote;  // bytes of the guest on nodes it was not planned for; only where numa_maps was read
  std::uint64_t major_faults = 0;
  std::map<unsigned, std::uint64_t> node_free;  // bytes
  std::map<unsigned, std::uint64_t> node_size;
  std::map<unsigned, std::map<std::string, std::uint64_t>> node_uses;  // bytes of what no process's pages count
  std::optional<std::uint64_t> ksm_scanned;  // pages, or full scans on a kernel that does not count pages
  std::optional<std::uint64_t> numa_hints;
  std::optional<std::uint64_t> stalled_us;  // somebody waited for memory (PSI)
};

struct Sample {
  std::uint64_t at_ns = 0;  // CLOCK_MONOTONIC
  std::vector<ThreadCounts> threads;
  std::map<unsigned, std::map<std::string, std::uint64_t>> exits;  // by cpu-index: query-stats' cumulative numbers
  std::map<unsigned, CpuCounts> cpus;                              // the VM's own, and their siblings that nobody has
  std::map<pid_t, ForeignTask> tasks;
  MemoryCounts memory;
  std::map<std::string, std::uint64_t> throttled_us;  // by control group, of all above the VM's threads
  bool paused = false;
  std::set<std::string> not_checked;
};

// What to look at: chosen once, when the window opens.
struct Scope {
  topology::CpuSet own;                     // CPUs with a vCPU or an iothread of the VM's that are nobody else's
  topology::CpuSet siblings;                // PUs of those cores that are not the VM's
  bool steal_told = true;                   // as Window::steal_told
  bool every_task = true;                   // look through /proc for foreign tasks; false where switches are traced
  std::map<std::string, unsigned> vcpu_of;  // QEMU's object path -> cpu-index
};
Scope scope_of(const Subject& subject);

// whole: numa_maps too, for which the kernel walks the page tables of a guest (and holds its mmap lock meanwhile): at both ends only.
Sample take_sample(const Subject& subject, const Scope& scope, bool whole);

std::uint64_t now_ns();  // CLOCK_MONOTONIC, by which a sample tells when it was taken

// Their parts.
std::vector<ThreadCounts> count_threads(const Subject& subject, Sample& sample);
std::map<unsigned, CpuCounts> count_cpus(const Subject& subject, const topology::CpuSet& cpus, Sample& sample);
std::map<pid_t, ForeignTask> count_tasks(const Subject& subject, const topology::CpuSet& cpus, bool all);
MemoryCounts count_memory(const Subject& subject, bool whole, Sample& sample);
std::map<unsigned, std::map<std::string, std::uint64_t>> count_exits(const Subject& subject, const Scope& scope,
                                                                     Sample& sample);
std::map<std::string, std::uint64_t> count_throttling(const Subject& subject);

}  // namespace launcher::watch
