#include "launcher/facts/vm_uids.hpp"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "topology/sysfs.hpp"

namespace launcher::inline facts {

namespace {

constexpr std::size_t most_tries = 32;

bool read_id(std::string_view text, unsigned& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::vector<IdRange> parse_subordinate_ids(std::string_view text) {
  std::vector<IdRange> ranges;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t last = line.rfind(':'), middle = last == line.npos ? last : line.rfind(':', last - 1);
    IdRange range;
    if (middle != line.npos && last > 0 && read_id(line.substr(middle + 1, last - middle - 1), range.first) &&
        read_id(line.substr(last + 1), range.count))
      ranges.push_back(range);
  }
  return ranges;
}

std::vector<unsigned> free_ids(unsigned first, std::size_t wanted, const std::function<bool(unsigned)>& has_name,
                               const std::vector<IdRange>& subordinate) {
  std::vector<unsigned> ids;
  unsigned offset = first - vm_id_range.first;
  for (std::size_t tries = 0; ids.size() < wanted && tries < most_tries; ++tries) {
    const unsigned id = vm_id_range.first + offset;
    const auto theirs = std::ranges::find_if(subordinate, [id](const IdRange& range) { return range.contains(id); });
    const unsigned step = theirs != subordinate.end() ? theirs->first + theirs->count - id : 1;
    if (theirs == subordinate.end() && !has_name(id)) ids.push_back(id);
    offset = (offset + step) % vm_id_range.count;
  }
  return ids;
}

std::vector<unsigned> free_ids_here(unsigned first, std::size_t wanted) {
  std::vector<IdRange> subordinate;
  for (const char* file : {"/etc/subuid", "/etc/subgid"})
    for (const IdRange& range : parse_subordinate_ids(topology::Sysfs{}.read(file).value_or("")))
      subordinate.push_back(range);
  return free_ids(
      first, wanted, [](unsigned id) { return getpwuid(id) != nullptr || getgrgid(id) != nullptr; }, subordinate);
}

std::string shared_range_note() {
  if (access("/etc/sssd/sssd.conf", F_OK) != 0) return {};
  return "sssd, which is set up here, gives users of a domain uids of 200000 to 2000200000 unless told otherwise; "
         "vmrun's are "
         "1900000000 to 1999999999, and those that have a name are passed over: user in /etc/vmrun/host.toml names "
         "another";
}

}  // namespace launcher::facts
