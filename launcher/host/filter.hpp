// Another program as a filter of text: what it is given, and what it says. Nothing of either is ever in the file system.
#pragma once

#include <string>
#include <vector>

namespace launcher::inline host {

// Its standard output; its errors go to ours. It finds its input as /proc/self/fd/0 and may seek in it. Throws std::runtime_error where it
// does not end with 0, std::system_error where it cannot be run.
std::string filtered(const std::vector<std::string>& argv, const std::string& input);

}  // namespace launcher::host
