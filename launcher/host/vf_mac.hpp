// Of virtual functions what only the driver of the physical one can read and set: MAC address, VLAN, trust, the check of what
// they send. By rtnetlink.
#pragma once

#include <boost/describe/class.hpp>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline host {

struct VfPort {
  std::optional<unsigned> vlan;     // the only one that it is in, untagged to the guest; 0: none
  std::optional<bool> trust;        // may turn on promiscuous mode, and set its MAC address
  std::optional<bool> spoof_check;  // what it sends from another address than its own is dropped
  friend bool operator==(const VfPort&, const VfPort&) = default;
};
BOOST_DESCRIBE_STRUCT(VfPort, (), (vlan, trust, spoof_check))

// By number; nullopt: no such interface, or its driver knows nothing of its functions' addresses.
std::optional<std::vector<std::string>> vf_macs(const std::string& interface);

// By number, as vf_macs(); each value nullopt where the driver does not say.
std::vector<VfPort> vf_ports(const std::string& interface);
// Those that it names, in this order, each by itself. Throws as set_vf_mac().
void set_vf_port(const std::string& interface, unsigned vf, const VfPort& port);

// Throws std::system_error with the driver's refusal.
void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac);

}  // namespace launcher::host
