#include "launcher/commands/run_recorder.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "launcher/commands/output.hpp"
#include "launcher/plan/json.hpp"
#include "launcher/record/run_part.hpp"
#include "launcher/steps/records.hpp"

namespace launcher::commands {

namespace fs = std::filesystem;

RunRecorder::RunRecorder(const Options& options, const std::optional<Expected>& expected)
    : directory_(options.value("record")), expected_(expected), naming_(naming_of(options)) {
  if (!options.all("allow").empty() && !expected)
    throw UsageError("--allow lets drifts from a lock pass: it goes with --locked, or with `vmrun replay`");
  if (!directory_) return;
  directory_ = fs::absolute(*directory_).string();  // a keeper lives in /
  std::error_code error;
  fs::create_directories(*directory_, error);
  if (error) throw UsageError(fmt::format("--record {}: {}", *directory_, error.message()));
}

// The images are read before the lock of all launches is taken; under it, what is known of them is looked up again.
void RunRecorder::watch(World& world, const SpecFile& file) {
  if (!directory_ && !expected_) return;
  spec_ = whole_spec(file);
  if (expected_) {
    World dry = world;
    if (const auto planned = plan_only(file.spec, dry, Ledger::read)) approve(planned->plan);
  }
  world.approve = [this](const LaunchPlan& plan) { approve(plan); };
}

void RunRecorder::approve(const LaunchPlan& plan) {
  lock_ = lock_of_plan(spec_, plan_json(plan).as_object(), naming_, lock_telling(false));
  if (expected_) lock_->allowed = check_drift(*expected_, *lock_);
}

void RunRecorder::record(RunningVm& vm) {
  if (!directory_ || !lock_) return;
  lock_->run = look_at_run(vm.dir, &vm.monitor, vm.state.since);
  const fs::path file = fs::path(*directory_) / fmt::format("{}-{}.json", vm.plan.name, vm.state.since);
  records::replace(file, to_document(*lock_));
  say("this run is on record in " + file.string());
}

}  // namespace launcher::commands
