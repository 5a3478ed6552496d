// The kernel's events through perf_event_open(2). The rule: nothing is written to a file of the kernel's, no tracer is turned on, and
// who may not have an event is told why.
#pragma once

#include <linux/perf_event.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/host/fd.hpp"
#include "topology/cpu_set.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline watch {

// A tracepoint as tracefs describes it: "sched/sched_switch".
struct Tracepoint {
  std::uint64_t id = 0;
  std::string format;  // its fields: "field:pid_t next_pid;	offset:56;	size:4;	signed:1;"
};
std::optional<Tracepoint> tracepoint(const topology::Sysfs& root, std::string_view name);

perf_event_attr event_of(std::uint32_t type, std::uint64_t config);
// Of all tasks on a CPU. No fd: errno says why.
Fd open_event(perf_event_attr event, unsigned cpu,
              const Fd& leader = Fd());  // leader: counted and read together with it

// An event counted on many CPUs from now on, what passes its filter only (kernel: Documentation/trace/events.rst, "Event filtering").
class EventCount {
 public:
  EventCount(const topology::Sysfs& root, std::string_view name, const std::string& filter,
             const topology::CpuSet& cpus);
  const std::string& error() const { return error_; }  // why it counts nothing
  std::uint64_t count() const;

 private:
  std::string error_;
  std::vector<Fd> events_;
};

}  // namespace launcher::watch
