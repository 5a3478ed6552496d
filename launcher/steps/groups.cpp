#include "launcher/steps/groups.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

std::string MakeGroup::describe() const {
  return fmt::format("make group {}{}", path, shared ? " if it is not there" : "");
}

// One that is there and that no VM of vmrun's made is somebody else's, and stays.
std::optional<RemoveGroup> MakeGroup::precheck(PerformContext& context) const {
  if (!context.host.kernel.exists(path)) return undo();
  if (!shared) throw std::runtime_error("it is there already, and is not this VM's");
  return context.others_have && context.others_have(Undo{undo()}) ? std::optional(undo()) : std::nullopt;
}

void MakeGroup::perform(PerformContext& context) const { context.host.kernel.make_group(path, shared); }

std::string RemoveGroup::describe() const {
  return fmt::format("remove group {}{}", path, shared ? " if it is empty" : "");
}
void RemoveGroup::perform(UndoContext& context) const { context.host.kernel.remove_group(path, shared); }

}  // namespace launcher::steps
