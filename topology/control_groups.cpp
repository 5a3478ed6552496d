#include "topology/control_groups.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/words.hpp"

namespace topology {

// "4:memory:/a" (v1) before "0::/a" (v2, of all controllers that no v1 hierarchy has).
std::optional<ControlGroup> group_in(std::string_view rest, const Sysfs& sysfs, std::string_view controller) {
  std::optional<ControlGroup> group;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    std::string names(line.substr(first + 1, second - first - 1)), path(line.substr(second + 1));
    if (path == "/") path.clear();
    std::replace(names.begin(), names.end(), ',', ' ');
    const bool v2 = names.empty();
    if (v2 && !group)
      group = ControlGroup{sysfs.exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup", path,
                           true};
    if (!controller.empty() && has_word(names, controller))
      return ControlGroup{fmt::format("/sys/fs/cgroup/{}", controller), path, false};
  }
  return group;
}

std::optional<ControlGroup> group_of(const Sysfs& sysfs, std::string_view task, std::string_view controller) {
  return group_in(sysfs.read(fmt::format("/proc/{}/cgroup", task)).value_or(""), sysfs, controller);
}

std::vector<ControlGroup> and_above(ControlGroup group) {
  std::vector<ControlGroup> groups;
  while (!group.path.empty()) {
    groups.push_back(group);
    group.path.erase(std::min(group.path.rfind('/'), group.path.size()));
  }
  return groups;
}

std::string freezer_file(const ControlGroup& group) {
  return group.directory() + (group.v2 ? "/cgroup.events" : "/freezer.state");
}

// "populated 1\nfrozen 1" of version 2; "FROZEN" and "FREEZING" of version 1.
bool is_frozen(std::string_view state) {
  return state.find("frozen 1") != state.npos || state.starts_with("FROZEN") || state.starts_with("FREEZING");
}

std::string frozen_by(const Sysfs& root, const std::string& directory) {
  for (std::string group = directory; group.size() > 1; group.erase(group.rfind('/')))
    if (root.read_number(group + "/cgroup.freeze") == 1u || root.read_number(group + "/freezer.self_freezing") == 1u)
      return group;
  return directory;
}

}  // namespace topology
