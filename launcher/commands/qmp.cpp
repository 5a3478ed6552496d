// `vmrun qmp`: one command to QEMU, and what comes back.
#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"

namespace launcher::commands {

int qmp(const Options& options) {
  const VmDir dir = named_vm(options);
  const ::qmp::Command command =
      command_of(options.word(1, "a QMP command: a name, or JSON like '{\"execute\": \"query-status\"}'"));
  ::qmp::Client client = connect_monitor(dir);
  print_json(client.execute(
      command, std::chrono::milliseconds(static_cast<long>(options.number("timeout").value_or(30) * 1000))));
  return done;
}

}  // namespace launcher::commands
