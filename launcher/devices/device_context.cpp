#include "launcher/devices/device_context.hpp"

#include <fmt/format.h>

namespace launcher::inline devices {

std::string pci_address(unsigned first_slot, unsigned index) {
  constexpr unsigned slots_of_a_kind = 8;
  const unsigned function = index / slots_of_a_kind;
  return function == 0 ? fmt::format("{:02x}", first_slot + index % slots_of_a_kind)
                       : fmt::format("{:02x}.{}", first_slot + index % slots_of_a_kind, function);
}

void DeviceContext::set_address(Opts& device) const {
  device.set("addr", pci_address(kind.first_slot, index));
  if (shares_slot && index < 8) device.set("multifunction", true);
}

void set_address(Opts& device, Single single) {
  device.set("addr", fmt::format("{:02x}.{}", slots::singles, static_cast<int>(single)));
  if (single == Single::panic) device.set("multifunction", true);
}

}  // namespace launcher::inline devices
