// What a VM's name yields: UUID, MACs, tap names, vsock CID, uid. The rule: the same name gives the same ones on every host.
#pragma once

#include <cstdint>
#include <string>

namespace launcher::inline devices {

std::string uuid_of(const std::string& vm);               // RFC 9562 version 5
std::string mac_of(const std::string& vm, unsigned nic);  // 52:54:00:xx:xx:xx
std::string tap_of(const std::string& vm, unsigned nic);  // at most 15 bytes
std::uint32_t cid_of(const std::string& vm);              // of AF_VSOCK: 2^16 .. 2^31 - 1, above what people give
unsigned uid_of(const std::string& vm);                   // 1.9e9 .. 2.0e9, above every distribution's ranges

}  // namespace launcher::devices
