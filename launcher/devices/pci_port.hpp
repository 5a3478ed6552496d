// A virtual function's port in its card's switch: VLAN, trust, the check of what it sends.
#pragma once

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/pci.hpp"

namespace launcher::inline devices {

void check_port(const Pci& pci, const Pci::Facts& facts, const DeviceContext& context);
// The step, with of each value what it had where the function is there to be given back.
void add_port_step(const Pci& pci, const Pci::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
