// An option's value taken apart as QEMU takes it: "driver,key=value,..." with ",," for a comma within, or JSON. The counterpart of
// qemu_args.hpp, which writes them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace launcher::inline devices {

// In the order in which they stand. The first part without "=" has the key "" ("virtio-net-pci", "4G"); a later one is a switch, "on".
// JSON is flattened: "file.filename", "iothread-vq-mapping.0.iothread"; true and false are "on" and "off".
using Members = std::vector<std::pair<std::string, std::string>>;
Members members_of(std::string_view value);  // of JSON that cannot be read: none
std::string member(const Members& all,
                   std::string_view key);  // the last of that key, as QEMU has it; "": there is none

}  // namespace launcher::devices
