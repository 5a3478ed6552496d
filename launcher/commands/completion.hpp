// The completion script for bash.
#pragma once

#include <string>

namespace launcher::commands {

std::string bash_completion();

}  // namespace launcher::commands
