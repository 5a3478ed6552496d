// The machine with the running VMs on it, as text for a terminal and as a drawing by hwloc's lstopo.
#pragma once

#include <string>

#include "topology/host_topology.hpp"
#include "topology/reservations.hpp"

namespace launcher::commands {

// A character for each CPU, a word for each core, nodes below each other; large machines get a character for each core.
std::string host_map(const topology::HostTopology& host, const topology::HostPolicy& policy,
                     const topology::Reservations& taken, unsigned columns);

unsigned terminal_columns();  // of stdout; 80 where it is no terminal

// Throws std::runtime_error with what lstopo said.
void draw_host(const topology::HostTopology& host, const topology::HostPolicy& policy,
               const topology::Reservations& taken, const std::string& file);

}  // namespace launcher::commands
