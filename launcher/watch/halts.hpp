// What is done to a VM between two looks and asked for ten times a second: a freezer (a control group's, by the kernel's own notice), a
// signal or a debugger (by the state of QEMU's process), other CPUs or another scheduling of a thread. The rule: what it was for a moment
// counts, though it goes on by the next look.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "launcher/host/fd.hpp"
#include "launcher/watch/sample.hpp"

namespace launcher::inline proof {
struct Subject;
}

namespace launcher::inline watch {

class Halts {
 public:
  struct Told {
    std::function<void(const std::string&)> stopped, moved, policy;  // as a Window has them
  };
  Halts(const Subject& subject, const std::vector<ThreadCounts>& threads);
  // So long, or until the kernel says that something has changed; each halt that is seen is told: "the VM was frozen: /sys/fs/cgroup/a".
  void wait(std::chrono::milliseconds most, const Told& told) const;

 private:
  struct Freezer {
    std::string directory;  // the control group's
    bool v2 = true;
    Fd state;  // cgroup.events, or freezer.state of version 1, which gives no notice
  };
  struct Due {
    std::string thread;  // "vcpu 0 (4711)"
    pid_t tid = 0;
    topology::CpuSet cpus;
    std::string policy;
  };
  void look_at_threads(const Told& told) const;
  const Subject& subject_;
  std::vector<Freezer> freezers_;
  std::vector<Due> due_;  // as it was when the window opened
};

}  // namespace launcher::watch
