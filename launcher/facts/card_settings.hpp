// How a network card is set, in the words of `ethtool`: what its driver says, by ioctl. The rule: read-only, nothing that names the
// machine (addresses, serial numbers, keys), and nothing that moves by itself.
#pragma once

#include <map>
#include <string>

namespace launcher::inline facts {

// "driver" -> "ixgbe", "rings" -> "rx 512, tx 512", "offload rx-gro" -> "on"; without what the driver does not know.
std::map<std::string, std::string> card_settings(const std::string& interface);

}  // namespace launcher::facts
