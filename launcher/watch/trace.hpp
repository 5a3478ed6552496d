// Who ran on some CPUs, by the scheduler's own word: the tracepoint sched_switch through perf_event_open(2), without a file written or
// a tracer turned on. The rule: every task that ran is seen, however short; what the kernel had to drop is counted.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "launcher/watch/window.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline watch {

class SwitchTrace {
 public:
  // error(): why it cannot be had here (no right to, tracefs not mounted); then it sees nothing.
  SwitchTrace(const topology::CpuSet& cpus, const topology::Sysfs& root);
  ~SwitchTrace();
  SwitchTrace(const SwitchTrace&) = delete;
  SwitchTrace& operator=(const SwitchTrace&) = delete;

  const std::string& error() const { return error_; }
  // Who runs there already: a task that keeps its CPU to itself is never switched to.
  void began_with(const std::map<pid_t, ForeignTask>& tasks);
  void read();  // takes what has come; to be called some ten times a second
  std::uint64_t lost() const { return lost_; }
  // Time on the CPUs since the last call, by task; idle is none.
  std::vector<TaskUse> take();

 private:
  struct Ring;
  struct Layout {  // of the tracepoint's record
    std::size_t comm = 0, pid = 0;
  };
  void open_ring(unsigned cpu, std::uint64_t id);
  void switched(Ring& ring, std::uint64_t at, const char* record, std::size_t size);
  void charge(Ring& ring, std::uint64_t until);

  std::string error_;
  Layout layout_;
  std::vector<std::unique_ptr<Ring>> rings_;
  std::map<std::pair<int, unsigned>, TaskUse> uses_;  // by task and CPU
  std::uint64_t lost_ = 0;
};

}  // namespace launcher::watch
