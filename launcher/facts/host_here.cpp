#include "launcher/facts/host_here.hpp"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "launcher/facts/qemu_cache.hpp"
#include "topology/read_host.hpp"

namespace launcher::inline facts {

namespace {

constexpr const char* host_file = "topology";  // that of an earlier boot is of no use

// Not a captured machine's files, mounted over the kernel's own: two of those can have the same CPUs and nodes online, and the same boot.
bool is_kernels_own(const topology::Sysfs& sysfs) {
  for (const char* directory : {"/sys/devices/system/cpu", "/sys/devices/system/node"}) {
    struct statfs info {};
    if (statfs(sysfs.at(directory).c_str(), &info) < 0 || info.f_type != SYSFS_MAGIC) return false;
  }
  return true;
}

}  // namespace

std::string key_of_host_here() {
  const topology::Sysfs sysfs;
  const std::string self = identity_of("/proc/self/exe");
  if (!is_kernels_own(sysfs) || self.empty()) return {};
  return fmt::format("topology {} {}", self, topology::shape_key(sysfs));
}

std::expected<topology::HostTopology, std::string> host_here(Cache cache) {
  const topology::Sysfs sysfs;
  const std::string key = key_of_host_here();
  if (key.empty()) return topology::read_this_host(topology::Devices::skip, sysfs);
  for (const std::string& kept : read_cache(key, host_file))
    if (auto known = topology::host_from_json(kept))
      if (auto host = topology::read_again(*std::move(known), sysfs)) return *std::move(host);
  auto host = topology::read_this_host(topology::Devices::skip, sysfs);
  if (!host || cache == Cache::read_only) return host;
  std::string line = to_json(*host);
  std::erase(line, '\n');  // in JSON they stand between words only
  write_cache(key, line, host_file);
  return host;
}

}  // namespace launcher::facts
