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

// Blocks the signals keep() handles, from before the launch on, so that none is lost; during the launch
// pending_signal() tells whether the user wants out.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  int fd() const { return fd_; }
  static int pending();  // 0: none

 private:
  int fd_ = -1;
};

// Gives back what the launch needed and waiting does not: free heap, and the program text that was mapped in (the page
// cache still has it). A waiting vmrun then weighs about a megabyte.
void slim_down();

// sd_notify(3)'s protocol, as far as we need it: a datagram to $NOTIFY_SOCKET. No socket: nothing happens.
void notify_systemd(const std::string& message);

}  // namespace launcher::inline life
