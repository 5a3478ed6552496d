// `vmrun kill`: QEMU is ended at once; the VM's keeper cleans up.
#include <signal.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/ending.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"

namespace launcher::commands {

int kill(const Options& options) {
  const Seen vm = see(named_vm(options));
  if (vm.state.qemu)
    end_at_once(vm);
  else if (vm.keeper)
    signal_keeper(*vm.keeper, SIGTERM);
  const int code = await_cleanup(vm);
  report(options, vm.dir, "killed");
  return code;
}

}  // namespace launcher::commands
