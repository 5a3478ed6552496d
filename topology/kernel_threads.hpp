// The kernel's own threads, without a look at every process: there are tens of thousands of them on a host of thousands of CPUs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "topology/sysfs.hpp"

namespace topology {

// The oldest first: the kernel adds a child of kthreadd's at the end (CONFIG_PROC_CHILDREN; proc(5), /proc/PID/task/TID/children).
// nullopt: it does not list them, or this is a PID namespace of its own, which has none.
std::optional<std::vector<pid_t>> kernel_threads(const Sysfs& root);
// Those that began at this clock tick after boot (/proc/PID/stat's field 22) or later.
std::optional<std::vector<pid_t>> kernel_threads_since(const Sysfs& root, std::uint64_t start);

}  // namespace topology
