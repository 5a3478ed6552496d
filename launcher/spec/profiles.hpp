// Named sets of defaults: profile = "latency". The rule: a profile is TOML like a spec, merged below it, so that whatever the
// spec, its includes or a --set say wins, and nothing but the spec's own keys can be in it.
#pragma once

#include <string>
#include <vector>

#include "launcher/text/toml_reader.hpp"

namespace launcher::inline spec {

const std::vector<Profile>& profiles();
std::vector<std::string> profile_names();

// What a document's profile set, each key put back alone to what it is where nobody says anything: what an ablation compares.
struct ProfileKnobs {
  std::vector<std::string> knobs;   // "cpu.pm=false", "disk[0].poll_max_ns=\"auto\"", as --set takes them
  std::vector<std::string> others;  // keys that decide what the guest is, not how fast
};
ProfileKnobs profile_knobs(const TomlDocument& document);

// Key ("disk[].cache") and that value, as TOML.
const std::vector<std::pair<std::string_view, std::string_view>>& values_without_profile();

}  // namespace launcher::spec
