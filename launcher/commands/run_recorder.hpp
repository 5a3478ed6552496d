// What a run is checked against before it begins (--locked, replay), and what it leaves on record (--record). The rule: a lock that does
// not hold starts nothing; a record that cannot be written costs no guest.
#pragma once

#include <optional>
#include <string>

#include "launcher/commands/locking.hpp"
#include "launcher/life/launch.hpp"

namespace launcher::commands {

class RunRecorder {
 public:
  RunRecorder(const Options& options, const std::optional<Expected>& expected);
  void watch(World& world, const SpecFile& file);  // both as long as the launch
  void record(RunningVm& vm);

 private:
  void approve(const LaunchPlan& plan);
  std::optional<std::string> directory_;
  const std::optional<Expected>& expected_;
  Naming naming_;
  std::string spec_;
  std::optional<LaunchLock> lock_;
};

}  // namespace launcher::commands
