#include "launcher/facts/host_here.hpp"

#include "launcher/facts/qemu_cache.hpp"
#include "topology/read_host.hpp"

namespace launcher::inline facts {

std::expected<topology::HostTopology, std::string> host_here(Cache cache) {
  const topology::Sysfs sysfs;
  const std::string key = "topology 1 " + topology::shape_key(sysfs);
  for (const std::string& kept : read_cache(key))
    if (auto known = topology::host_from_json(kept))
      if (auto host = topology::read_again(*std::move(known), sysfs)) return *std::move(host);
  auto host = topology::read_this_host(topology::Devices::skip, sysfs);
  if (!host || cache == Cache::read_only) return host;
  std::string line = to_json(*host);
  std::erase(line, '\n');  // in JSON they stand between words only
  write_cache(key, line);
  return host;
}

}  // namespace launcher::facts
