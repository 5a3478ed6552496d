// Named sets of defaults: profile = "latency". The rule: a profile is TOML like a spec, merged below it, so that whatever the
// spec, its includes or a --set say wins, and nothing but the spec's own keys can be in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace launcher {

struct Profile {
  std::string_view name;
  std::string_view text;  // TOML; what stands in [each.disk] is a default of every [[disk]]
};
const std::vector<Profile>& profiles();
const Profile* find_profile(std::string_view name);  // nullptr: none of this name
std::vector<std::string> profile_names();

}  // namespace launcher
