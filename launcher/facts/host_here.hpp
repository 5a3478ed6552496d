// This machine's topology, of which what stays as it is until the next boot is kept beside what is known of QEMUs (qemu_cache). The rule:
// what is kept is checked against the kernel each time, and read anew where the kernel contradicts it.
#pragma once

#include <expected>
#include <string>

#include "launcher/facts/qemu_features.hpp"
#include "topology/host_topology.hpp"

namespace launcher::inline facts {

std::expected<topology::HostTopology, std::string> host_here(Cache cache);

// What it is kept under: this very program (another one may read the same host otherwise), this boot, CPUs and nodes online. "": nothing is
// kept, for the files are not the kernel's own.
std::string key_of_host_here();

}  // namespace launcher::facts
