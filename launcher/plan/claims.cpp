// What the VM claims of this host by name, so that no other VM gets it.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

void claim_things(Draft& draft) {
  std::set<std::string> ours;
  for (const auto& [key, thing] : draft.claims) {
    if (!ours.insert(thing).second)
      draft.problem(key, fmt::format("{} is given twice to this VM", thing), "give each device its own");
    for (const topology::Reservation& other : draft.taken.vms) {
      if (std::ranges::find(other.things, thing) != other.things.end())
        draft.problem(key, fmt::format("{} belongs to VM {}", thing, other.owner),
                      fmt::format("choose another, or stop it with `vmrun stop {}`", other.owner));
    }
  }
  draft.plan.reservation.things.assign(ours.begin(), ours.end());
}

}  // namespace launcher::parts
