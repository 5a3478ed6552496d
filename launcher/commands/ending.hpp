// Ending a VM from outside. The rules: only the one that was seen is touched, whoever has its name by now; its keeper puts
// everything back, and only without a keeper do we.
#pragma once

#include <chrono>
#include <optional>

#include "launcher/steps/vm_dir.hpp"

namespace launcher::commands {

// A VM as it was at one moment. Its keeper (pid and start time) tells it from a later one of the name.
struct Seen {
  VmDir dir;
  std::optional<ProcessId> keeper;
  State state;
  bool still_there() const { return keeper && is_alive(*keeper) && dir.owner() == keeper; }
};
Seen see(const VmDir& dir);

// false: `until` came first.
bool wait_for_end(int pidfd, std::chrono::steady_clock::time_point until);

// A signal to its keeper, if it still is that process and knows what to do with it (an older vmrun would die of SIGUSR1).
bool signal_keeper(const ProcessId& keeper, int signal);

// QEMU's end at once. Its keeper is told before, so that it knows that this was meant.
void end_at_once(const Seen& vm);

// QEMU is gone or going; its keeper undoes the rest. Without a keeper we do it. Returns the exit code.
int await_cleanup(const Seen& vm);

}  // namespace launcher::commands
