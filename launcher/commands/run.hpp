// One VM from its spec to its end, as `run` does it in the foreground and `start` in a keeper of its own.
#pragma once

#include <optional>

#include "launcher/commands/locking.hpp"
#include "launcher/commands/options.hpp"

namespace launcher::commands {

struct Launching {
  bool detached = false;             // no terminal is connected
  int ready_fd = -1;                 // told when the VM runs, then closed; -1: nobody waits
  std::optional<SpecFile> file;      // nullopt: the spec is named by the first word
  std::optional<Expected> expected;  // the VM is started as this lock says, or not at all
};
int supervise(const Options& options, Launching launching);  // returns the exit code

}  // namespace launcher::commands
