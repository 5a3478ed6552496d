// Who has which CPUs, pages and devices of this host: what the VMs' directories say, and nothing else. The rule: fail closed. Of our own
// ledger, what cannot be read stops whoever would take something; another user's is believed only as far as the kernel confirms it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "launcher/steps/undo.hpp"
#include "topology/host_topology.hpp"
#include "topology/reservations.hpp"

namespace launcher::inline steps {

// Throws std::runtime_error, naming the file, where a VM of ours has something that cannot be read.
topology::Reservations read_reservations(const std::filesystem::path& base);

// Of the ledger of another user, whose processes alone are believed: of the first 256 VMs that run, and 32 MiB of records.
std::vector<topology::Reservation> reservations_of_others(const std::filesystem::path& base, uid_t uid);

// Pages that a starting VM has claimed but not yet touched still count as free in the kernel's files: takes them out of `host`.
void subtract_pending(topology::HostTopology& host, const std::filesystem::path& base);

// Physical PCI functions whose virtual ones a VM's journal has to remove.
std::set<std::string> makers_of_vfs(const std::filesystem::path& base);

// Under the lock: whether another VM's journal has this undo, too (what they share goes with the last of them).
bool others_have(const std::filesystem::path& base, const std::string& except, const Undo& undo);

}  // namespace launcher::steps
