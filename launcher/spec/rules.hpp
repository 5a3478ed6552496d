// What keys of a spec rule out together, without looking at any host. Each rule is one function in spec_rules.cpp.
#pragma once

#include <string_view>

#include "launcher/spec/spec.hpp"

namespace launcher::inline spec {

// `found` are the problems so far; a rule stays silent about keys that already have one.
Problems broken_rules(const Spec& spec, const Problems& found);

bool is_versioned_q35(std::string_view machine);  // "pc-q35-8.1"
// Of QEMU's CPU models: those that its emulation gives AMD's name. (KVM gives each the vendor of the host's CPU.)
bool is_amd_model(std::string_view model);

}  // namespace launcher::spec
