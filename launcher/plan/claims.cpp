// What only one VM of a host may have: told from what the other VMs' records say, and from what the machine does. The rule: a thing is
// named by what it is (a device and inode), so that no second name of it gets past.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

constexpr const char* only_read = " (read)";  // behind what a VM shares with all who do no more, in the ledger

// Who has it already, with what is to be done; nothing: nobody.
std::optional<std::pair<std::string, std::string>> holder_of(const Claim& claim,
                                                             const std::map<std::string, bool>& ours,
                                                             const topology::Reservations& taken) {
  const std::string words = claim.words.empty() ? claim.thing : claim.words;
  const char* share = claim.image ? ", or set read_only = true in both" : "";
  if (const auto own = ours.find(claim.thing); own != ours.end() && !(own->second && claim.shared))
    return std::pair(fmt::format("{} is given twice to this VM", words), "give each device its own");
  for (const topology::Reservation& other : taken.vms) {
    const auto has = [&](const std::string& thing) {
      return std::ranges::find(other.things, thing) != other.things.end();
    };
    if (has(claim.thing) || (!claim.shared && has(claim.thing + only_read)))
      return std::pair(fmt::format("{} belongs to VM {}", words, other.owner),
                       fmt::format("choose another, or stop it with `vmrun stop {}`{}", other.owner, share));
  }
  if (claim.holder.empty()) return std::nullopt;
  return std::pair(fmt::format("{} is in use by {}", words, claim.holder),
                   fmt::format("choose another, or end that one{}", share));
}

}  // namespace

void claim_things(Draft& draft) {
  std::map<std::string, bool> ours;  // thing -> only shared
  std::set<std::pair<std::string, std::string>> told;
  for (const Claim& claim : draft.claims) {
    const auto holder = holder_of(claim, ours, draft.taken);
    // a path is claimed by all that it is, and told once
    if (holder && told.emplace(claim.key, holder->first).second)
      draft.problem(claim.key, holder->first, holder->second);
    const auto [own, fresh] = ours.emplace(claim.thing, claim.shared);
    if (!fresh) own->second = own->second && claim.shared;
  }
  for (const auto& [thing, shared] : ours) draft.plan.reservation.things.push_back(shared ? thing + only_read : thing);
}

}  // namespace launcher::parts
