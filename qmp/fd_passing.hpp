// An open file for QEMU over its monitor's unix socket (SCM_RIGHTS). The rule: it goes with a blank, which QMP passes over, right before
// the command that takes it.
#pragma once

namespace qmp {

// Of a Client's fd(). Throws std::system_error.
void pass_fd(int socket, int fd);

}  // namespace qmp
