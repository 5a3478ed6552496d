// What `vmrun run` does while the VM lives: waits on a pidfd (never a polling loop), carries the console to and from the
// terminal, turns signals into a graceful stop, answers systemd's watchdog; then undoes everything.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "launcher/life/launch.hpp"

namespace launcher::inline life {

struct KeepOptions {
  int console = -1;  // a connected socket to relay; -1: none
  std::chrono::milliseconds stop_timeout{60'000};
  std::function<void(const std::string&)> say;
};

struct Ended {
  int qemu_exit = 0;              // 128 + signal when it was killed
  std::string reason;             // "the guest powered off", "QEMU was killed by signal 9", ...
  bool stopped = false;           // by us
  std::vector<std::string> left;  // what could not be undone
};

// SIGINT, SIGTERM and SIGHUP are turned into a stop; a second SIGINT kills. They must be blocked already (Signals).
Ended keep(RunningVm& vm, Host& host, const std::filesystem::path& base, const KeepOptions& options);

}  // namespace launcher::inline life
