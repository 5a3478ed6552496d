// Where a function hangs: its node, or the one that stands in for it, as place() chose the VM's.
#include "launcher/devices/pci_node.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "topology/place.hpp"

namespace launcher::inline devices {

namespace {

// The guest node that stands for this host node.
std::optional<unsigned> guest_node_of(unsigned node, const topology::Placement& placement) {
  for (const topology::MemoryCell& cell : placement.cells)
    if (std::ranges::find(cell.host_nodes, node) != cell.host_nodes.end()) return cell.guest_node;
  return std::nullopt;
}

}  // namespace

std::optional<unsigned> home_of(const PciFunction& function, const DeviceContext& context) {
  if (!function.node || guest_node_of(*function.node, context.placement)) return function.node;
  return topology::home_of_device(context.host, *function.node);
}

std::string nodes_text(const topology::Placement& placement) {
  std::vector<unsigned> nodes;
  for (const topology::MemoryCell& cell : placement.cells)
    nodes.insert(nodes.end(), cell.host_nodes.begin(), cell.host_nodes.end());
  return fmt::format("{}", fmt::join(nodes, ", "));
}

std::optional<unsigned> guest_node_near(const PciFunction& function, const DeviceContext& context) {
  const auto home = home_of(function, context);
  return home ? guest_node_of(*home, context.placement) : std::nullopt;
}

std::string locality(const PciFunction& function, const DeviceContext& context) {
  const topology::Placement& placement = context.placement;
  if (placement.cells.empty() || (function.node && guest_node_of(*function.node, placement))) return "";
  const std::string vm = "the VM is on node " + nodes_text(placement);
  if (!function.node || context.host.node(*function.node) == nullptr)
    return context.host.nodes.size() < 2
               ? ""
               : fmt::format("it is not known which node {} hangs on{}: {}, for other reasons", function.address,
                             function.node ? fmt::format(" (node {} is none of this host's)", *function.node) : "", vm);
  const auto home = home_of(function, context);
  const bool near = home && guest_node_of(*home, placement);
  if (near)
    return fmt::format(
        "{} hangs on node {}, which has no {}: {}, {}", function.address, *function.node,
        context.host.cpus_of_node(*function.node).empty() ? "CPUs" : "memory that may be had", vm,
        placement.cells.size() > 1 ? fmt::format("of which {} is nearest to it", *home) : "the nearest to it");
  return fmt::format("{} hangs on node {}, {}: DMA and interrupts cross between nodes", function.address,
                     *function.node, vm);
}

topology::CpuSet interrupt_cpus(const PciFunction& function, const DeviceContext& context) {
  const topology::Placement& placement = context.placement;
  const auto near = guest_node_near(function, context);
  topology::CpuSet close, all;
  for (const topology::VcpuSeat& seat : placement.vcpus) {
    if (!seat.cpu) continue;
    all.add(*seat.cpu);
    if (near && seat.guest_node == *near) close.add(*seat.cpu);
  }
  return close.empty() ? all : close;
}

}  // namespace launcher::devices
