// The words for ssh(1) and scp(1). The rule: the VM's own keys, and a host key that is known beforehand, so nothing is asked and
// nothing is taken on trust.
#pragma once

#include <string>
#include <vector>

#include "launcher/guest/route.hpp"

namespace launcher::inline guest {

// "-F none -i ..." without a host. self: this program, which is the way where ssh itself knows none (vsock).
std::vector<std::string> ssh_options(const Access& access, const Route& route, const std::string& self);

std::vector<std::string> ssh_argv(const Access& access, const Route& route, const std::string& self,
                                  const std::string& user, const std::vector<std::string>& command);

// from, to: local paths, or "VM:PATH" of this one.
std::vector<std::string> scp_argv(const Access& access, const Route& route, const std::string& self,
                                  const std::string& user, const std::vector<std::string>& words);

std::string quoted_for_sh(const std::vector<std::string>& words);  // one line that a shell splits into these again

}  // namespace launcher::guest
