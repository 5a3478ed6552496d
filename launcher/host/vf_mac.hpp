// MAC addresses of virtual functions, which only the driver of the physical one can read and set: by rtnetlink.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace launcher::inline host {

// By number; nullopt: no such interface, or its driver knows nothing of its functions' addresses.
std::optional<std::vector<std::string>> vf_macs(const std::string& interface);

// Throws std::system_error with the driver's refusal.
void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac);

}  // namespace launcher::host
