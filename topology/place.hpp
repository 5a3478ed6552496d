// place(): where a guest fits on this host. The only file that decides which CPU or node. Pure and deterministic.
#pragma once

#include <expected>
#include <optional>
#include <vector>

#include "topology/host_topology.hpp"
#include "topology/placement.hpp"
#include "topology/reservations.hpp"

namespace topology {

// The order of preference: whole cores first, SMT siblings as guest threads only when both are the VM's; one node if it
// fits, then one L3 within it; nodes with the VM's own devices first, then most free memory, then most free cores; never
// a housekeeping or taken CPU; across nodes only when no node fits (and then a note says so); kinds never mixed unless
// asked. All shortages are returned together.
std::expected<Placement, std::vector<Unplaceable>> place(const PlacementRequest& request, const HostTopology& host,
                                                         const HostPolicy& policy, const Reservations& taken);

// The node that a device of this node is near to: the node itself where it has CPUs and memory, else the one whose memory
// serves its CPUs, else the nearest that has both. nullopt: the host has no such node.
std::optional<unsigned> home_of_device(const HostTopology& host, unsigned node);

}  // namespace topology
