// This machine's topology, of which what stays as it is until the next boot is kept beside what is known of QEMUs (qemu_cache). The rule:
// what is kept is checked against the kernel each time, and read anew where the kernel contradicts it.
#pragma once

#include <expected>
#include <string>

#include "launcher/facts/qemu_features.hpp"
#include "topology/host_topology.hpp"

namespace launcher::inline facts {

std::expected<topology::HostTopology, std::string> host_here(Cache cache);

}  // namespace launcher::facts
