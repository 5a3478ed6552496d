// A USB device of the host, lent to the guest: by its numbers, or by the port it is plugged into. All hang on one xHCI
// controller, a function of the slot that the VM's single devices share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Usb {
  std::string id;    // usb.id: "046d:c52b", vendor and product
  std::string port;  // usb.port: "1-2.3", the bus and the ports on the way, as in /sys/bus/usb/devices

  struct Found {
    std::string port, id;
    std::string node;  // "/dev/bus/usb/001/004"
    bool hub = false;
    std::vector<std::string> uses;  // why the host needs it
    friend bool operator==(const Found&, const Found&) = default;
  };
  struct Facts {
    std::vector<Found> found;  // those that fit
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "usb"};
  static Usb read(TableReader& table);
  friend bool operator==(const Usb&, const Usb&) = default;
};

Usb::Facts look_at(const Usb& usb);
Usb::Facts look_at(const Usb& usb, const topology::Sysfs& sysfs);
Usb::Facts assumed(const Usb& usb);
DeviceNeeds needs(const Usb& usb, const Usb::Facts& facts, unsigned vcpus);
void plan_device(const Usb& usb, const Usb::Facts& facts, DeviceContext& context);

constexpr unsigned most_usb_devices = 15;  // ports of an xHCI controller, of each speed
// One port more of the VM's controller, which is made with the first.
void take_usb_port(DeviceContext& context, const std::string& why, const std::string& origin);

}  // namespace launcher::devices
