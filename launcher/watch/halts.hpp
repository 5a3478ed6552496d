// What stops a VM as a whole between two looks: a freezer (a control group's, by the kernel's own notice) and a signal or a debugger (by
// the state of QEMU's process, ten times a second). The rule: what it was for a moment counts, though it goes on by the next look.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "launcher/host/fd.hpp"

namespace launcher::inline proof {
struct Subject;
}

namespace launcher::inline watch {

class Halts {
 public:
  explicit Halts(const Subject& subject);
  // So long, or until the kernel says that something has changed; each halt that is seen is told: "the VM was frozen: /sys/fs/cgroup/a".
  void wait(std::chrono::milliseconds most, const std::function<void(const std::string&)>& told);

 private:
  struct Freezer {
    std::string directory;  // the control group's
    bool v2 = true;
    Fd state;  // cgroup.events, or freezer.state of version 1, which gives no notice
  };
  const Subject& subject_;
  std::vector<Freezer> freezers_;
};

}  // namespace launcher::watch
