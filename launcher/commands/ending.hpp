// Waiting for a VM's end from outside. The rule: its keeper puts everything back; only without a keeper do we.
#pragma once

#include <chrono>
#include <optional>

#include "launcher/steps/run_dir.hpp"

namespace launcher::commands {

// false: `until` came first.
bool wait_for_end(int pidfd, std::chrono::steady_clock::time_point until);

// QEMU is gone or going; its keeper undoes the rest. Without a keeper we do it. Returns the exit code.
int await_cleanup(const VmDir& dir, const std::optional<ProcessId>& keeper);

}  // namespace launcher::commands
