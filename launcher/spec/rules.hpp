// What keys of a spec rule out together, without looking at any host. Each rule is one function in spec_rules.cpp.
#pragma once

#include "launcher/spec/spec.hpp"

namespace launcher::inline spec {

// `found` are the problems so far; a rule stays silent about keys that already have one.
Problems broken_rules(const Spec& spec, const Problems& found);

}  // namespace launcher::spec
