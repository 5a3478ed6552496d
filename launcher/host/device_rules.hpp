// What stands between a process and a device beside the device's mode: the rules of its cgroup, as containers and units have them.
#pragma once

#include <string>

namespace launcher::inline host {

// Why a device that is there cannot be opened, in words that lead on, where `error` says that it is these rules; else "".
std::string denied_by_device_rules(const std::string& path, int error);

// What an open of it ended with, in those words where they are the reason.
[[noreturn]] void refuse_to_open(const std::string& path, int error);

}  // namespace launcher::host
