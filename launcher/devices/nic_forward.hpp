// net.forward: the host's ports that lead into the guest.
#pragma once

#include <vector>

#include "launcher/devices/nic.hpp"

namespace launcher::inline devices {

std::vector<Forward> read_forwards(TableReader& table);

}  // namespace launcher::devices
