#include "launcher/devices/device_context.hpp"

#include <fmt/format.h>

#include "launcher/facts/in_use.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

void claim_image(const DeviceContext& context, const std::string& path, const std::string& id, const OtherNames& names,
                 bool only_read, const std::string& holder) {
  const std::string key = context.key + ".path", words = fmt::format("image '{}'", printable(path));
  if (!id.empty()) context.claims.push_back({key, id, words, holder, only_read, true});
  for (const std::string& one : names.whole) context.claims.push_back({key, one, words, "", only_read, true});
  for (const std::string& one : names.below)
    context.claims.push_back({key, one, fmt::format("what '{}' is a part of", printable(path)), "", true, true});
}

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
