#include "launcher/host/cgroup.hpp"

#include <fstream>

namespace launcher::inline host {

std::string cgroup_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, where, type, rest; mounts >> device >> where >> type && std::getline(mounts, rest);)
    if (type == "cgroup2") return where;
  return "";
}

}  // namespace launcher::host
