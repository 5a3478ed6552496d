// What a serial port becomes on the command line. The rule: QEMU gets a socket that listens already, and of the log a pipe.
#include "launcher/devices/serial.hpp"

#include <fmt/format.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/in_use.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Serial Serial::read(TableReader& table) {
  Serial serial;
  serial.log = table.path("log", false);
  serial.log_size = table.size("log_size", serial.log_size, topology::kib(256), topology::gib(1024));
  return serial;
}

Serial::Facts look_at(const Serial& serial) {
  if (serial.log.empty()) return {};
  return {misfit_to_append(serial.log), identities(serial.log)};
}
Serial::Facts assumed(const Serial&) { return {}; }
DeviceNeeds needs(const Serial&, const Serial::Facts&, unsigned) { return {}; }

std::string port_socket(unsigned port) {
  return port == 1 ? "console.sock" : "serial" + std::to_string(port) + ".sock";
}

void plan_serial_port(const SerialPort& port, const Serial::Facts& facts, DeviceContext& context) {
  if (!facts.log_misfit.empty())
    context.problem(
        "log", facts.log_misfit + "; wanted a regular file, or a directory in which it can be made",
        port.port == 1
            ? "correct the path or its permissions, or remove log: `vmrun log` keeps the last words without it"
            : "correct the path or its permissions, or remove log");
  const std::string name = port.port == 1 ? "console" : "serial" + std::to_string(port.port);
  const std::string origin = port.from_key.empty() ? "spec " + context.key : context.origin(port.from_key);
  const int fd = context.fds.take(name + " socket");
  context.steps.push_back({Listen{context.run_dir + "/" + port_socket(port.port), fd}, port.why, origin});
  Opts far_end("socket");
  far_end.set("id", name).set("fd", fd).set("server", true).set("wait", false);
  if (!port.keys.log.empty()) {
    context.claim_path("log", fmt::format("the log '{}'", printable(port.keys.log)), facts.log_ids);
    const int log = context.fds.take(name + " log");
    context.steps.push_back({OpenLog{port.keys.log, log, port.keys.log_size}, "QEMU writes a pipe, and vmrun the file",
                             context.origin("log")});
    context.args.add("-add-fd", Opts().set("fd", log).set("set", log).set("opaque", port.keys.log), "the open log",
                     context.origin("log"));
    far_end.set("logfile", "/dev/fdset/" + std::to_string(log)).set("logappend", true);
  }
  context.args.add("-chardev", far_end, port.why, origin);
  Opts device("isa-serial");
  device.set("id", "serial" + std::to_string(port.port - 1)).set("chardev", name);
  if (port.has_index) device.set("index", port.port - 1);
  context.args.add("-device", device, "the guest's COM" + std::to_string(port.port), origin);
}

void plan_device(const Serial& serial, const Serial::Facts& facts, DeviceContext& context) {
  if (context.index >= most_serials) {
    context.problems.push_back({context.key,
                                "this guest would have more than four serial ports; wanted three beside [console]",
                                "remove the table: a PC has COM1, which is the console's, to COM4"});
    return;
  }
  const unsigned port = context.index + 2;
  plan_serial_port(
      {.port = port, .keys = serial, .why = "for `vmrun console --port " + std::to_string(port) + "`", .from_key = ""},
      facts, context);
}

}  // namespace launcher::devices
