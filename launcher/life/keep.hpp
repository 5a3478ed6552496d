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
  std::string listen_to;                           // a console's socket that nobody is connected to; "": none
  std::function<void(const std::string&)> heard;   // what the console says, as it comes
  std::function<void(const std::string&)> say;     // must not wait for a reader
  std::function<void(const struct Ended&)> ended;  // everything is undone, and not a word is told yet
};

struct Ended {
  int qemu_exit = 0;              // 128 + signal when it was killed
  std::string reason;             // "the guest powered off", "QEMU was killed by signal 9", ...
  std::string how;                // the same in a word, as RunRecord has it
  std::string console, qemu;      // last words
  std::vector<std::string> cut;   // what was lost of the logs, a sentence each
  bool asked = false;             // whoever it was
  bool stopped = false;           // by us
  std::vector<std::string> left;  // what could not be undone
};

// SIGINT, SIGTERM, SIGHUP and SIGQUIT are turned into a stop; a second SIGINT and SIGUSR1 kill. They must be blocked already
// (Signals). The rule: whatever only tells (state.json, the terminal, systemd) may fail, and the VM goes on.
Ended keep(RunningVm& vm, Host& host, const std::filesystem::path& base, const KeepOptions& options);

}  // namespace launcher::life
