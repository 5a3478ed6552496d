// The console's keys, and what it becomes on the command line. The rule: one console per VM, always COM1.
#include "launcher/devices/console.hpp"

#include "launcher/devices/device_context.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Console Console::read(TableReader& table) {
  Console console;
  console.mode = static_cast<Mode>(table.choice("mode", {"stdio", "socket", "none"}, 0));
  const Serial port = Serial::read(table);
  console.log = port.log;
  console.log_size = port.log_size;
  if (!console.log.empty() && console.mode == Mode::none)
    table.problem("log", "given with mode = \"none\"; wanted a console to write down", "remove one of the two");
  return console;
}

Console::Facts look_at(const Console& console) { return {look_at(Serial{.log = console.log})}; }
Console::Facts assumed(const Console&) { return {}; }
DeviceNeeds needs(const Console&, const Console::Facts&, unsigned) { return {}; }

void plan_device(const Console& console, const Console::Facts& facts, DeviceContext& context) {
  if (console.mode == Console::Mode::none) return;
  context.results.console_socket = context.run_dir + "/" + port_socket(1);
  context.results.console_on_stdio = console.mode == Console::Mode::stdio;
  plan_serial_port(
      {.keys = {console.log, console.log_size},
       .why = console.mode == Console::Mode::stdio ? "`vmrun run` connects its terminal here" : "for `vmrun console`",
       .from_key = "mode",
       .has_index = false},
      facts, context);
}

}  // namespace launcher::devices
