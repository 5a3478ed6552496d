// What [[pci]] says of a virtual function's port, against what its card's driver knows; set from outside, out of the guest's reach.
#include "launcher/devices/pci_port.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

namespace launcher::inline devices {

namespace {

// The keys of VfPort, and whether each is given.
std::array<std::pair<const char*, bool>, 3> port_keys(const VfPort& port) {
  return {{{"vlan", port.vlan.has_value()},
           {"trust", port.trust.has_value()},
           {"spoof_check", port.spoof_check.has_value()}}};
}

}  // namespace

void check_port(const Pci& pci, const Pci::Facts& facts, const DeviceContext& context) {
  for (const auto& [key, given] : port_keys(pci.port))
    if (given && !facts.sets_macs)
      context.problem(
          key,
          facts.interface.empty()
              ? fmt::format("{} has no network interface to set it by", facts.physical->address)
              : fmt::format("the driver of {} knows nothing of its virtual functions' ports", facts.interface),
          fmt::format("remove {}", key));
}

void add_port_step(const Pci& pci, const Pci::Facts& facts, DeviceContext& context) {
  if (pci.port == VfPort{}) return;
  VfPort found;
  if (*facts.chosen < facts.vf_ports.size() && !facts.removes_vfs) {
    const VfPort& had = facts.vf_ports[*facts.chosen];
    if (pci.port.vlan) found.vlan = had.vlan;
    if (pci.port.trust) found.trust = had.trust;
    if (pci.port.spoof_check) found.spoof_check = had.spoof_check;
  }
  std::string origin;
  for (const auto& [key, given] : port_keys(pci.port))
    if (given && origin.empty()) origin = context.origin(key);
  context.steps.push_back(
      {SetVfPort{facts.interface, *facts.chosen, pci.port, found}, "in the card, out of the guest's reach", origin});
}

}  // namespace launcher::devices
