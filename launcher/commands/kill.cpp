// `vmrun kill`: QEMU is ended at once; the VM's keeper cleans up.
#include <signal.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/ending.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"

namespace launcher::commands {

int kill(const Options& options) {
  const VmDir dir = named_vm(options);
  const std::optional<ProcessId> keeper = dir.owner();
  const State state = dir.read_state();
  if (state.qemu)
    end_process(*state.qemu);
  else if (keeper && dir.owner_alive())
    ::kill(keeper->pid, SIGTERM);
  const int code = await_cleanup(dir, keeper);
  report(options, dir, "killed");
  return code;
}

}  // namespace launcher::commands
