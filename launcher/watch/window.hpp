// A window of time over a VM: what was counted in it, from all looks that were taken. The rule: a state that was wrong at any look
// counts, though both ends look right; values only, no verdict.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/watch/sample.hpp"

namespace launcher::inline watch {

struct Count {
  std::string name;
  std::uint64_t count = 0;
  friend bool operator==(const Count&, const Count&) = default;
};
BOOST_DESCRIBE_STRUCT(Count, (), (name, count))

struct ThreadUse {
  pid_t tid = 0;
  std::string role, name;
  topology::CpuSet cpus;
  std::uint64_t ran_ns = 0, delay_ns = 0, slices = 0, voluntary = 0, involuntary = 0;
  std::optional<std::uint64_t> migrations;
};
BOOST_DESCRIBE_STRUCT(ThreadUse, (),
                      (tid, role, name, cpus, ran_ns, delay_ns, slices, voluntary, involuntary, migrations))

struct VcpuUse {
  unsigned vcpu = 0;
  std::vector<Count> exits;  // by KVM's names, the greatest first
};
BOOST_DESCRIBE_STRUCT(VcpuUse, (), (vcpu, exits))

struct CpuUse {
  unsigned cpu = 0;
  bool own = true;                                    // false: a sibling that nobody has
  std::vector<Count> interrupts = {}, softirqs = {};  // the greatest first
  std::uint64_t busy_ns = 0, irq_ns = 0, steal_ns = 0;
  std::optional<std::uint64_t> mhz = {};  // the least that was seen
  std::optional<std::uint64_t> throttled = {};
};
BOOST_DESCRIBE_STRUCT(CpuUse, (), (cpu, own, interrupts, softirqs, busy_ns, irq_ns, steal_ns, mhz, throttled))

struct TaskUse {
  pid_t tid = 0;
  std::string name;
  topology::CpuSet cpus;  // the VM's own on which it was seen
  std::uint64_t ran_ns = 0;
  bool bound = false;
};
BOOST_DESCRIBE_STRUCT(TaskUse, (), (tid, name, cpus, ran_ns, bound))

struct MemoryUse {
  std::optional<std::uint64_t> remote, remote_more;  // bytes at the end, and how many more than at first
  std::optional<std::uint64_t> moved =
      {};  // bytes that the kernel moved, there and back both; nullopt: it does not say
  std::uint64_t major_faults = 0;
  std::uint64_t node_taken = 0,
                node_size = 0;  // the most that a node of the VM's lost of its free memory, and its size
  std::optional<std::uint64_t> ksm_scanned, numa_hints, stalled_us;
  std::string grown;     // who took the most memory meanwhile: "stress (4711): 512 MiB"
  std::string taken_by;  // who or what took node_taken, or a third of it; "": nobody that was looked at
};
BOOST_DESCRIBE_STRUCT(MemoryUse, (),
                      (remote, remote_more, moved, major_faults, node_taken, node_size, ksm_scanned, numa_hints,
                       stalled_us, grown, taken_by))

struct Window {
  std::uint64_t ns = 0;
  unsigned looks = 0;
  bool steal_told = true;  // false: the host is a guest, and its host does not tell what time it takes
  std::string clock;       // what `mhz` is by: "APERF/MPERF", "cpufreq", "": nothing
  bool traced = false;     // foreign tasks are by sched_switch, each of them; else by looks
  std::vector<ThreadUse> threads;
  std::vector<VcpuUse> vcpus;
  std::vector<CpuUse> cpus;
  std::vector<TaskUse> tasks;  // who ran the longest first
  MemoryUse memory;
  std::vector<Count> throttled_us;   // by control group
  std::vector<std::string> stopped;  // "vcpu 0 (4711) was stopped", "the VM was paused"
  std::vector<std::string> moved;    // "vcpu 0 (4711) was on 2, not on 3"
  std::vector<std::string> policy;   // "vcpu 0 (4711) was scheduled as batch, not as other"
  std::vector<std::string> log;      // the kernel's warnings meanwhile
  std::vector<std::string> not_checked;
};
BOOST_DESCRIBE_STRUCT(Window, (),
                      (ns, looks, steal_told, clock, traced, threads, vcpus, cpus, tasks, memory, throttled_us, stopped,
                       moved, policy, log, not_checked))

// A second of it, for the picture and the live view.
struct Point {
  std::uint64_t at_ns = 0;                                 // from the window's start
  std::map<std::string, std::uint64_t> delay_ns, ran_ns;   // by role
  std::map<unsigned, std::uint64_t> interrupts, switches;  // by CPU
};

class Watcher {
 public:
  Watcher(const Sample& first, const Scope& scope);
  void add(const Sample& sample);
  void add_tasks(const std::vector<TaskUse>& traced);  // instead of those found by looking
  void stopped(const std::string& what) { stopped_.insert(what); }
  void moved(const std::string& what) { moved_.insert(what); }
  void policy(const std::string& what) { policy_.insert(what); }
  // True when a node has less free memory than at any look before, by much: who took it may be gone at the next look.
  bool wants_tasks(const Sample& sample) const;
  Window window() const;
  const std::vector<Point>& points() const { return points_; }

 private:
  void add_threads(const Sample& sample, Point& point);
  void add_foreign(const Sample& sample);
  void add_memory(const Sample& sample);
  void judge_masks(const Sample& sample);
  std::vector<ThreadUse> thread_uses() const;
  std::vector<CpuUse> cpu_uses() const;
  MemoryUse memory_use() const;

  Scope scope_;
  Sample first_, last_;
  unsigned looks_ = 1;
  std::map<pid_t, ThreadCounts> began_, seen_;  // each thread when it was seen first and last
  std::map<pid_t, TaskUse> tasks_;
  std::map<unsigned, double> least_mhz_;
  struct Taken {
    std::uint64_t bytes = 0;
    std::string by;
  };
  std::map<unsigned, Taken> node_taken_;  // the most, by node
  bool traced_ = false;
  std::set<std::string> stopped_, moved_, policy_, not_checked_;
  std::vector<Point> points_;
};

}  // namespace launcher::watch
