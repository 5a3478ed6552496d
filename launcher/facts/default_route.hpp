// By which interfaces this host reaches other networks. The rule: read from the kernel's own tables, /proc/net/route (IPv4) and
// /proc/net/ipv6_route.
#pragma once

#include <set>
#include <string>

#include "topology/sysfs.hpp"

namespace launcher::inline facts {

// Those that have a default route.
std::set<std::string> default_routes(const topology::Sysfs& sysfs = topology::Sysfs{});

}  // namespace launcher::facts
