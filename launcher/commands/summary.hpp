// A VM in a few words, as `list` and `show` tell it.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

#include "launcher/steps/vm_dir.hpp"

namespace launcher::commands {

std::string phase_of(const VmDir& dir, const State& state);  // "running", "crashed", ...
boost::json::object summary(const VmDir& dir);

}  // namespace launcher::commands
