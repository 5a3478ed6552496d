#include "launcher/host/device_rules.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <stdexcept>

#include "launcher/host/fd.hpp"

namespace launcher::inline host {

std::string denied_by_device_rules(const std::string& path, int error) {
  struct stat info {};
  if (error != EPERM || stat(path.c_str(), &info) < 0 || (!S_ISBLK(info.st_mode) && !S_ISCHR(info.st_mode))) return {};
  return fmt::format(
      "Operation not permitted: its mode would allow it, the device rules of this cgroup do not (a container's: "
      "--device {0}; a unit's: DeviceAllow={0} rw)",
      path);
}

void refuse_to_open(const std::string& path, int error) {
  if (const std::string why = denied_by_device_rules(path, error); !why.empty())
    throw std::runtime_error("open " + path + ": " + why);
  refuse("open " + path, error);
}

}  // namespace launcher::host
