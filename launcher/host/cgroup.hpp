// Where this machine's control groups are.
#pragma once

#include <string>

namespace launcher::inline host {

// Where cgroup version 2 is mounted; "" if it is not.
std::string cgroup_mount();

}  // namespace launcher::host
