// `vmrun agent`: one command to the guest's agent, and what comes back.
#include <filesystem>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"

namespace launcher::commands {

// The guest agent speaks the same lines, without a greeting.
int agent(const Options& options) {
  const VmDir dir = named_vm(options);
  const ::qmp::Command command =
      command_of(options.word(1, "a guest agent command: a name, or JSON like '{\"execute\": \"guest-ping\"}'"));
  const std::filesystem::path socket = dir.path() / "agent.sock";
  if (!std::filesystem::exists(socket))
    throw std::runtime_error("VM " + dir.name() + " has no agent channel: its spec needs a table [agent]");
  ::qmp::Client client(::qmp::connect_unix(socket));
  try {
    print_json(client.execute(
        command, std::chrono::milliseconds(static_cast<long>(options.number("timeout").value_or(5) * 1000))));
  } catch (const ::qmp::Error& error) {
    if (error.kind == ::qmp::Error::Kind::timeout)
      throw std::runtime_error("no guest agent answers: does qemu-ga run in the guest?");
    throw;
  }
  return done;
}

}  // namespace launcher::commands
