// Takes the HWLOC_* variables out of the environment and puts them back.
#include "topology/hwloc_environment.hpp"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace topology {

HwlocEnvironment::HwlocEnvironment(const std::string& root) {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const auto equals = text.find('='); text.starts_with("HWLOC_") && equals != text.npos)
      before_.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  for (const auto& [name, ignored] : before_) ::unsetenv(name.c_str());
  if (root != "/") ::setenv("HWLOC_FSROOT", root.c_str(), 1);
}

HwlocEnvironment::~HwlocEnvironment() {
  ::unsetenv("HWLOC_FSROOT");
  for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
}

}  // namespace topology
