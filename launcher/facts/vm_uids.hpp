// Which uid a VM's QEMU may have: one that nobody else on this host has. The rule: a name always tries the same ones first.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline facts {

struct IdRange {
  unsigned first = 0, count = 0;
  bool contains(unsigned id) const { return id >= first && id - first < count; }
  friend bool operator==(const IdRange&, const IdRange&) = default;
};
constexpr IdRange vm_id_range{1'900'000'000u, 100'000'000u};

std::vector<IdRange> parse_subordinate_ids(
    std::string_view text);  // subuid(5), subgid(5); what is no such line is passed over

// `first` and those after it, as many as are wanted, without what has a name on this host or is some user's to give away. Each is
// two questions to everything that nsswitch.conf names.
std::vector<unsigned> free_ids(unsigned first, std::size_t wanted, const std::function<bool(unsigned)>& has_name,
                               const std::vector<IdRange>& subordinate);
std::vector<unsigned> free_ids_here(unsigned first, std::size_t wanted);

// That somebody else gives out uids of this range, too; "" where nobody is known to.
std::string shared_range_note();

}  // namespace launcher::facts
