// Serial ports beside the console: COM2 to COM4. The far end of each is a socket in the VM's run directory, for
// `vmrun console NAME --port N`.
#pragma once

#include <string>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Serial {
  std::string log;  // serial.log: a file to which all that the guest says there is appended
  topology::Bytes log_size = topology::mib(16);  // serial.log_size: its beginning and end are kept

  struct Facts {
    std::string log_misfit = {};            // why the log cannot be written; "" if it can
    std::vector<std::string> log_ids = {};  // what it is by any name, see identities()
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "serial"};
  static Serial read(TableReader& table);
  friend bool operator==(const Serial&, const Serial&) = default;
};

Serial::Facts look_at(const Serial& serial);
Serial::Facts assumed(const Serial& serial);
DeviceNeeds needs(const Serial& serial, const Serial::Facts& facts, unsigned vcpus);
void plan_device(const Serial& serial, const Serial::Facts& facts, DeviceContext& context);

constexpr unsigned most_serials = 3;  // a PC has four ports, and COM1 is the console's

// The socket of COM1 to COM4 in the VM's run directory: "console.sock", "serial2.sock" ...
std::string port_socket(unsigned port);

// One port on the command line, and the steps that it needs.
struct SerialPort {
  unsigned port = 1;  // COM1 to COM4
  Serial keys = {};
  std::string why;        // it is there
  std::string from_key;   // that it is there for: "mode"; "" for the table itself
  bool has_index = true;  // QEMU is told which port it is; else it is the next one
};
void plan_serial_port(const SerialPort& port, const Serial::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
