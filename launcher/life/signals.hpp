// The signals that a launch and a wait answer to. The rule: blocked from before the launch on, so that none is lost and none
// ends vmrun between two lines.
#pragma once

#include "launcher/host/fd.hpp"

namespace launcher::inline life {

// SIGINT, SIGTERM, SIGHUP and SIGQUIT ask for a stop, SIGUSR1 (from `vmrun kill`) for an end at once. SIGUSR2 (from `vmrun
// console`) asks for the console, where the keeper only listens to it. What would stop vmrun (Ctrl-Z, a background read) or end it
// (a log past a file size limit, a pipe nobody reads) is ignored, in QEMU as well: there, too, the write fails and nothing else.
//
// Blocks the signals keep() handles, from before the launch on, so that none is lost; during the launch
// pending_signal() tells whether the user wants out.
class Signals {
 public:
  Signals();
  int fd() const { return fd_.get(); }
  static int pending();  // 0: none

 private:
  Fd fd_;
};

}  // namespace launcher::life
