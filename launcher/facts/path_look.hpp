// What stands at a path of the spec, before the plan. The rule: nothing is opened, so nothing waits, is started or rewound by the
// look alone; every key that takes a path goes through here.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <initializer_list>
#include <string>

namespace launcher::inline facts {

// Why what stands there is none of `wanted` (S_IFREG, ...), or may not be used (R_OK, W_OK) by this user; "" if it is and may.
std::string misfit(const std::string& path, std::initializer_list<mode_t> wanted, int access = R_OK);

// The same of a file that is made where there is none.
std::string misfit_to_append(const std::string& path);

// Does a process have this stream socket, or did one that ended leave it behind? Nobody is called for the answer.
bool has_listener(const std::string& path);

}  // namespace launcher::facts
