// /proc/PID/stat and /proc/PID/task/TID/stat, as proc(5) numbers their fields. The rule: there are thousands of them on a large machine, so
// one pass over the text; one that ends early is nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace topology {

struct TaskStat {
  std::string name;
  char state = '?';
  bool kernel = false, bound = false;  // PF_KTHREAD, PF_NO_SETAFFINITY (include/linux/sched.h)
  unsigned cpu = 0;                    // on which it ran last
  unsigned threads = 1;                // of its process
  std::uint64_t start = 0;             // clock ticks after boot
  std::uint64_t major_faults = 0, pages = 0;
};
std::optional<TaskStat> parse_stat(std::string_view text);

}  // namespace topology
