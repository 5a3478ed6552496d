// Which control groups a task is in, of either version, and those above them. The rule: /proc/PID/cgroup names them (cgroups(7)), and
// what is not mounted where distributions mount it is not found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "topology/sysfs.hpp"

namespace topology {

struct ControlGroup {
  std::string mount, path;  // "/sys/fs/cgroup", "/batch/7"; "" is the root
  bool v2 = false;
  std::string directory() const { return mount + path; }
};

// task: "self", or a number. controller: "cpu", "freezer"; the hierarchy of version 1 that has it goes before version 2, which has all
// the others'; "": version 2, which freezes by itself. nullopt: the task has ended, or no group of it has that controller.
std::optional<ControlGroup> group_of(const Sysfs& sysfs, std::string_view task, std::string_view controller);

// The same of what that file said.
std::optional<ControlGroup> group_in(std::string_view text, const Sysfs& sysfs, std::string_view controller);

// It, and what is above it, without the root.
std::vector<ControlGroup> and_above(ControlGroup group);

// The file that says whether a freezer holds a group, its own or one above it, and what that file says then.
std::string freezer_file(const ControlGroup& group);
bool is_frozen(std::string_view state);
// Whose will it is that this one is frozen: its own, or that of the nearest group above that says so. By directories.
std::string frozen_by(const Sysfs& root, const std::string& directory);

inline constexpr std::uint64_t unlimited_memory = std::uint64_t{1} << 60;  // version 1 writes nearly 2^63 for none

}  // namespace topology
