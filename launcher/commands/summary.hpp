// A VM in a few words, as `list` and `show` tell it.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstddef>
#include <string>

#include "launcher/steps/vm_dir.hpp"
#include "topology/bytes.hpp"

namespace launcher::commands {

std::string phase_of(const VmDir& dir, const State& state);  // "running", "crashed", ...
boost::json::object summary(const VmDir& dir);

// What its plan gives it, and how its guest is reached; "" and 0 where that is not known.
struct Given {
  std::size_t vcpus = 0;
  topology::Bytes memory;
  std::string address;  // "vsock:5", "127.0.0.1:2222"; the first way in
  std::string spec;     // the file
};
Given given_to(const VmDir& dir);

}  // namespace launcher::commands
