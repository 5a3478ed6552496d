// One change to the machine, as data. The rule: precheck, then its undo is in the journal, then it is done, then that is marked. A
// kind is one struct in its family's file, which says everything of itself: name, words, whether it is done under the lock, check, act,
// undo, JSON. Adding one is that struct and a line here.
#pragma once

#include <boost/json/fwd.hpp>
#include <expected>
#include <string>
#include <variant>
#include <vector>

#include "launcher/steps/memory_file.hpp"
#include "launcher/steps/undo.hpp"

namespace launcher::inline steps {

using Step = std::variant<RaisePool, MakeTap, OpenTap, MakeMacvtap, LimitRate, TagPort, OpenVhost, OpenFile, MakeImage,
                          OpenLog, Listen, HoldPath, MakeDirectory, Pair, KeepDirectory, CopyOnce, KeepText, GiveFile,
                          StartHelper, StartQemu, MakeGroup, LoadModule, CreateVfs, SetVfMac, SetVfPort, BindVfio,
                          OpenVfio, TakeUsb, ChangeFile, MakeMemoryFile, MakeVolume, KeepSshKeys, MakeGuestMemory>;

// A step of a plan, with the reason `vmrun plan --explain` gives.
struct PlannedStep {
  Step step;
  std::string why;
  std::string origin;  // as in Arg
  friend bool operator==(const PlannedStep&, const PlannedStep&) = default;
};

std::string describe(const Step& step);       // for a person: "raise node 0's 2M pool by 256 pages"
std::vector<Undo> undo_of(const Step& step);  // as far as it is known beforehand; empty: nothing stays behind
bool is_locked(const Step& step);  // done under the lock: what another VM's end may take away or trim at the same time

boost::json::value to_json(const Step& step);
std::expected<Step, std::string> step_from_json(const boost::json::value& json);

// What has to be in the journal before the step is done. Throws what speaks against it; then nothing was done and nothing is owed.
std::vector<Undo> precheck(const Step& step, PerformContext& context);
// Does it. Throws std::exception derivates with what the machine said.
void perform(const Step& step, PerformContext& context);

}  // namespace launcher::steps
