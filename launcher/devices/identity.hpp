// What a VM's name yields: UUID, MACs, tap names, vsock CID, uid. The rule: what others on a network see is of the host, too, for
// VMs of one name on two hosts are two; what only the host sees is of the name alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace launcher::inline devices {

// host: HostTopology::own_id; "": the same on every host
std::string uuid_of(const std::string& vm, const std::string& host = {});  // RFC 9562 version 5
bool is_uuid(std::string_view text);                                       // 8-4-4-4-12 hex digits, of either case
std::string mac_of(const std::string& vm, unsigned nic, const std::string& host = {});  // 52:54:00:xx:xx:xx
std::string tap_of(const std::string& vm, unsigned nic);                                // at most 15 bytes
std::uint32_t cid_of(const std::string& vm);  // of AF_VSOCK: 2^16 .. 2^31 - 1, above what people give
unsigned uid_of(const std::string& vm);       // 1.9e9 .. 2.0e9, above every distribution's ranges

}  // namespace launcher::devices
