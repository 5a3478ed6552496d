// Undo: what puts back what a step did. The rule: nothing else ever stands in a journal, and no undo restores an absolute value of
// something that other VMs or people share. A kind says everything of itself: name, words, act, JSON; adding one is its struct and
// a line here.
#pragma once

#include <boost/json/fwd.hpp>
#include <expected>
#include <string>
#include <variant>

#include "launcher/steps/files.hpp"
#include "launcher/steps/groups.hpp"
#include "launcher/steps/kernel_file.hpp"
#include "launcher/steps/net.hpp"
#include "launcher/steps/pci.hpp"
#include "launcher/steps/pools.hpp"
#include "launcher/steps/processes.hpp"

namespace launcher::inline steps {

using Undo = std::variant<TrimPool, DropTap, DropMacvtap, TakeFileBack, EndProcess, RemoveGroup, RemoveVfs,
                          GiveVfMacBack, GiveVfPortBack, GiveBack, GiveBackUsb, ChangeBack>;

std::string describe(const Undo& undo);  // for a person: "trim node 0's pool of 2M pages by 256"
void perform(const Undo& undo, UndoContext& context);
boost::json::value to_json(const Undo& undo);
std::expected<Undo, std::string> undo_from_json(const boost::json::value& json);

}  // namespace launcher::steps
