// VMs of other users on this host, as far as we may see them. The rule: what they wrote is believed for its names only.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"

namespace launcher::commands {

struct OtherVm {
  std::string name;
  std::string whose;  // "root", "user 1000"
  std::string reach;  // "sudo vmrun", "sudo -u '#1000' XDG_RUNTIME_DIR=/run/user/1000 vmrun": its commands begin so
};

// mine: our own run directory, which does not count. system: root's; users: the directory of the users' runtime directories.
std::vector<OtherVm> vms_elsewhere(const std::filesystem::path& mine, const std::filesystem::path& system,
                                   const std::filesystem::path& users);
std::vector<OtherVm> vms_elsewhere();  // on this machine; none where $VMRUN_RUN_DIR makes a world of its own

}  // namespace launcher::commands
