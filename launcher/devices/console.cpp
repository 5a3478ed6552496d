// The console's keys, and what it becomes on the command line. The rule: one console per VM, always COM1.
#include "launcher/devices/console.hpp"

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Console Console::read(TableReader& table) {
  Console console;
  console.mode = static_cast<Mode>(table.choice("mode", {"stdio", "socket", "none"}, 0));
  console.log = table.path("log", false);
  console.log_size = table.size("log_size", console.log_size, topology::kib(256), topology::gib(1024));
  if (!console.log.empty() && console.mode == Mode::none)
    table.problem("log", "given with mode = \"none\"; wanted a console to write down", "remove one of the two");
  return console;
}

Console::Facts look_at(const Console& console) { return {console.log.empty() ? "" : misfit_to_append(console.log)}; }
Console::Facts assumed(const Console&) { return {}; }
DeviceNeeds needs(const Console&, const Console::Facts&, unsigned) { return {}; }

void plan_device(const Console& console, const Console::Facts& facts, DeviceContext& context) {
  if (!facts.log_misfit.empty())
    context.problem("log", facts.log_misfit + "; wanted a regular file, or a directory in which it can be made",
                    "correct the path or its permissions, or remove log: `vmrun log` keeps the last words without it");
  if (console.mode == Console::Mode::none) return;
  context.results.console_socket = context.run_dir + "/console.sock";
  context.results.console_on_stdio = console.mode == Console::Mode::stdio;
  const int fd = context.fds.take("console socket");
  const std::string why =
      console.mode == Console::Mode::stdio ? "`vmrun run` connects its terminal here" : "for `vmrun console`";
  context.steps.push_back({Listen{context.results.console_socket, fd}, why, context.origin("mode")});
  Opts far_end("socket");
  far_end.set("id", "console").set("fd", fd).set("server", true).set("wait", false);
  if (!console.log.empty()) {
    const int log = context.fds.take("console log");
    context.steps.push_back(
        {OpenLog{console.log, log, console.log_size}, "QEMU writes a pipe, and vmrun the file", context.origin("log")});
    context.args.add("-add-fd", Opts().set("fd", log).set("set", log).set("opaque", console.log), "the open log",
                     context.origin("log"));
    far_end.set("logfile", "/dev/fdset/" + std::to_string(log)).set("logappend", true);
  }
  context.args.add("-chardev", far_end, why, context.origin("mode"));
  context.args.add("-device", Opts("isa-serial").set("id", "serial0").set("chardev", "console"), "the guest's COM1",
                   context.origin("mode"));
}

}  // namespace launcher::devices
