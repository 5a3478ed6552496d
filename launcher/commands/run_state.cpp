// `vmrun pause`, `resume`, `reset`: one QMP command each, told.
#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "qmp/commands.hpp"

namespace launcher::commands {

namespace {

int simple(const Options& options, const std::string& what,
           void (*command)(::qmp::Client&, std::chrono::milliseconds)) {
  const VmDir dir = named_vm(options);
  ::qmp::Client client = connect_monitor(dir);
  command(client, patience);
  report(options, dir, what);
  return done;
}

}  // namespace

int pause(const Options& options) { return simple(options, "paused", ::qmp::stop); }
int resume(const Options& options) { return simple(options, "resumed", ::qmp::cont); }
int reset(const Options& options) { return simple(options, "reset", ::qmp::system_reset); }

}  // namespace launcher::commands
