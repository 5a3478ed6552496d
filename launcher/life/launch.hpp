// The story: claim -> prepare -> start paused -> pin -> resume -> publish. The rule: nothing else in vmrun says when
// things happen; on any failure everything is undone before the exception leaves.
#pragma once

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "launcher/life/world.hpp"
#include "launcher/steps/ledger.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"

namespace launcher::inline life {

// How a launch tells what it is doing. Both may be empty.
struct Teller {
  std::function<void(const std::string&)> say;       // things a user should know ("recovered what a crash of db left")
  std::function<void(const std::string&)> progress;  // a line that replaces the last one; "" clears it
  std::function<void()> check_cancelled;             // throws when the user wants out
  std::function<void(const std::string&)> detail;    // what only helps who looks for a fault: QEMU's command line
};

class Timings {
 public:
  void mark(std::string stage);  // the stage that just ended
  const std::vector<std::pair<std::string, std::chrono::microseconds>>& stages() const { return stages_; }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::vector<std::pair<std::string, std::chrono::microseconds>> stages_;
};

// The user can fix these.
class ProblemsFound : public std::runtime_error {
 public:
  explicit ProblemsFound(Problems found)
      : std::runtime_error("the VM cannot be started as specified"), problems(std::move(found)) {}
  Problems problems;
};

// It failed, was undone, and this is still there.
class NotUndone : public std::runtime_error {
 public:
  NotUndone(const std::string& what, std::vector<std::string> rest) : std::runtime_error(what), left(std::move(rest)) {}
  std::vector<std::string> left;
};

struct RunningVm {
  LaunchPlan plan;
  VmDir dir;
  ProcessId qemu;
  qmp::Client monitor;
  Timings timings;
  State state;
  Logs logs;  // of QEMU, its helpers and the console
};

// From a spec to a running, pinned VM. on_paused is called when every thread is where it shall be and the guest has not
// run an instruction. Throws ProblemsFound (nothing was done), NotUndone, or what failed with nested reasons (undone).
RunningVm launch(const Spec& spec, World& world, const Teller& teller,
                 const std::function<void(const LaunchPlan&)>& on_paused = {});

// After QEMU is gone (or to make it go): undoes everything. Returns what could not be undone; throws nothing.
std::vector<std::string> finish(Host& host, const VmDir& dir, const std::filesystem::path& base,
                                const Teller& teller = {});

}  // namespace launcher::life
