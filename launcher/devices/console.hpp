// The guest's serial console (COM1, and virtio where asked). Its far end is a socket in the VM's run directory, or
// vmrun's own stdin and stdout while `vmrun run` is in the foreground.
#pragma once

#include "launcher/devices/kind.hpp"
#include "launcher/devices/serial.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Console {
  enum class Mode { stdio, socket, none };
  Mode mode = Mode::stdio;  // console.mode; stdio: `run` attaches its terminal, `start` leaves it to `vmrun console`
  std::string log;          // console.log: a file to which all that the guest says is appended
  topology::Bytes log_size = topology::mib(16);  // console.log_size: its beginning and end are kept

  struct Facts : Serial::Facts {};  // its log's, as of any serial port

  static constexpr DeviceKind kind{.table = "console", .many = false, .always = true};
  static Console read(TableReader& table);
  friend bool operator==(const Console&, const Console&) = default;
};

Console::Facts look_at(const Console& console);
Console::Facts assumed(const Console& console);
DeviceNeeds needs(const Console& console, const Console::Facts& facts, unsigned vcpus);
void plan_device(const Console& console, const Console::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
