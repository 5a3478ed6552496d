// The kernel's tracepoints for this process: tracefs is mounted, in a mount namespace of its own, where it is not there.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

// False: not root, or the kernel has none.
inline bool has_tracefs() {
  constexpr const char *place = "/sys/kernel/tracing", *one = "/sys/kernel/tracing/events/sched/sched_switch/id";
  if (access(one, R_OK) == 0) return true;
  return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
         mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tracefs", place, "tracefs", 0, nullptr) == 0 && access(one, R_OK) == 0;
}
