// What a VM's name yields: UUID, MACs, tap names, uid. The rule: the same name gives the same ones on every host.
#pragma once

#include <string>

namespace launcher {

std::string uuid_of(const std::string& vm);               // RFC 9562 version 5
std::string mac_of(const std::string& vm, unsigned nic);  // 52:54:00:xx:xx:xx
std::string tap_of(const std::string& vm, unsigned nic);  // at most 15 bytes
unsigned uid_of(const std::string& vm);                   // 1.9e9 .. 2.0e9, above every distribution's ranges

}  // namespace launcher
