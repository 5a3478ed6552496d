#include "launcher/facts/default_route.hpp"

#include <sstream>

namespace launcher::inline facts {

std::set<std::string> default_routes(const topology::Sysfs& sysfs) {
  std::set<std::string> interfaces;
  std::istringstream routes(sysfs.read("/proc/net/route").value_or(""));
  for (std::string line; std::getline(routes, line);) {  // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
    std::istringstream words(line);
    std::string interface, destination, skipped, mask;
    words >> interface >> destination >> skipped >> skipped >> skipped >> skipped >> skipped >> mask;
    if (destination == "00000000" && mask == destination) interfaces.insert(interface);
  }
  std::istringstream routes6(sysfs.read("/proc/net/ipv6_route").value_or(""));
  for (std::string line;
       std::getline(routes6, line);) {  // destination prefix source prefix gateway metric ... interface
    std::istringstream words(line);
    std::string destination, prefix, interface;
    words >> destination >> prefix;
    for (std::string word; words >> word;) interface = word;
    // the kernel's own "unreachable" stands on lo
    if (prefix == "00" && interface != "lo") interfaces.insert(interface);
  }
  return interfaces;
}

}  // namespace launcher::facts
