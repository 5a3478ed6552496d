// Where a function hangs, and what that means for the VM: the guest node near to it, the CPUs for its interrupts, and what
// is to be told.
#pragma once

#include <optional>
#include <string>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/pci_function.hpp"

namespace launcher::inline devices {

std::string nodes_text(const topology::Placement& placement);  // "0, 1": the host nodes that the VM is on
// The host node that place() takes for the function's: its own, or the nearest that has CPUs and memory; nullopt: not known.
std::optional<unsigned> home_of(const PciFunction& function, const DeviceContext& context);
// The guest node whose host node is the function's, or nearest to it where that one has no CPUs or no memory.
std::optional<unsigned> guest_node_near(const PciFunction& function, const DeviceContext& context);
std::string locality(const PciFunction& function, const DeviceContext& context);  // "": nothing to tell
// The CPUs of the vCPUs that are near it; of all, where none is.
topology::CpuSet interrupt_cpus(const PciFunction& function, const DeviceContext& context);

}  // namespace launcher::devices
