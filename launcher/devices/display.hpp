// A screen for the guest, to be looked at over VNC.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Display {
  std::optional<unsigned> port;  // display.port: on the loopback address; nullopt: a socket in the run directory
  std::string address;           // display.address: where the port is; "127.0.0.1"
  std::string password_file;     // display.password_file: required with a port

  struct Facts {
    std::string misfit = {};  // why the password cannot be used; "" if it can
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "display", .many = false, .first_slot = slots::vga};
  static Display read(TableReader& table);
  friend bool operator==(const Display&, const Display&) = default;
};

Display::Facts look_at(const Display& display);
Display::Facts assumed(const Display& display);
DeviceNeeds needs(const Display& display, const Display::Facts& facts, unsigned vcpus);
void plan_device(const Display& display, const Display::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
