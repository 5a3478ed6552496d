// Named sets of defaults: profile = "latency". The rule: a profile is TOML like a spec, merged below it, so that whatever the
// spec, its includes or a --set say wins, and nothing but the spec's own keys can be in it.
#pragma once

#include <string>
#include <vector>

#include "launcher/text/toml_reader.hpp"

namespace launcher::inline spec {

const std::vector<Profile>& profiles();
std::vector<std::string> profile_names();

}  // namespace launcher::spec
