// One VM from its spec to its end, as `run` does it in the foreground and `start` in a keeper of its own.
#pragma once

#include "launcher/commands/options.hpp"

namespace launcher::commands {

// detached: no terminal is connected. ready_fd: told when the VM runs, then closed; -1: nobody waits. Returns the exit code.
int supervise(const Options& options, bool detached, int ready_fd);

}  // namespace launcher::commands
