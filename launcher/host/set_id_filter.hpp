// A process that makes files at a guest's word (virtiofsd) shall make none that run with their owner's rights on the host. The rule: by
// system call filter, which holds whatever the process was talked into; on what is asked for, so an ordinary mode passes.
#pragma once

namespace launcher::inline host {

// From now on this process, and what it execs, gets EPERM for a mode with a setuid or setgid bit. False with errno: it could not be.
bool refuse_set_id_modes();

}  // namespace launcher::host
