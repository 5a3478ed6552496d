#include "launcher/devices/device_context.hpp"

#include <fmt/format.h>

#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

std::string image_words(const std::string& path) { return fmt::format("image '{}'", printable(path)); }

std::string pci_address(unsigned first_slot, unsigned index, unsigned slots) {
  const unsigned function = index / slots;
  return function == 0 ? fmt::format("{:02x}", first_slot + index % slots)
                       : fmt::format("{:02x}.{}", first_slot + index % slots, function);
}

void DeviceContext::set_address(Opts& device) const {
  device.set("addr", pci_address(kind.first_slot, index, kind.slots));
  if (shares_slot && index < kind.slots) device.set("multifunction", true);
}

void set_address(Opts& device, Single single) {
  device.set("addr", fmt::format("{:02x}.{}", slots::singles, static_cast<int>(single)));
  if (single == Single::panic) device.set("multifunction", true);
}

}  // namespace launcher::devices
