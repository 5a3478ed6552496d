// What the commands that go into a guest share.
#pragma once

#include <string>
#include <vector>

#include "launcher/commands/options.hpp"
#include "launcher/guest/access.hpp"
#include "launcher/steps/vm_dir.hpp"

namespace launcher::commands {

Access access_or_throw(const VmDir& dir);
void need_keys(const Access& access);  // throws where the VM has none
// ssh(1)'s words for a command in that VM, once its sshd answers. Options: user, timeout.
std::vector<std::string> ssh_to(const Options& options, const VmDir& dir, const std::vector<std::string>& command);
int become(const std::vector<std::string>& argv);  // returns only by throwing

}  // namespace launcher::commands
