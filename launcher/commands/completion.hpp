// The completion scripts for bash, zsh and fish.
#pragma once

#include <string>

namespace launcher::commands {

std::string bash_completion();
std::string zsh_completion();
std::string fish_completion();

}  // namespace launcher::commands
