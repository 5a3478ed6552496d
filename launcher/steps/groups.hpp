// Steps that make a directory of a kernel's file system that is a group of tasks: cgroup or resctrl. The rule: only a group that we made
// is removed; a shared one by the last VM that uses it.
#pragma once

#include <boost/describe/class.hpp>
#include <optional>
#include <string>

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

struct RemoveGroup {
  static constexpr const char* kind = "remove_group";
  std::string path;
  bool shared = false;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const RemoveGroup&, const RemoveGroup&) = default;
};
BOOST_DESCRIBE_STRUCT(RemoveGroup, (), (path, shared))

// A directory of a kernel's file system that is a group of tasks: cgroup or resctrl. shared: it may be there already, and
// stays while it holds another VM's.
struct MakeGroup {
  static constexpr const char* kind = "make_group";
  static constexpr bool locked = true;
  std::string path;
  bool shared = false;
  std::string describe() const;
  RemoveGroup undo() const { return {path, shared}; }
  std::optional<RemoveGroup> precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeGroup&, const MakeGroup&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeGroup, (), (path, shared))

}  // namespace launcher::steps
