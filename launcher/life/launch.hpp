// The story: claim -> prepare -> start paused -> pin -> resume -> publish. The rule: nothing else in vmrun says when
// things happen; on any failure everything is undone before the exception leaves.
#pragma once

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "launcher/host/host.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/steps/ledger.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"

namespace launcher::inline life {

// What a launch needs to know of the world, so that a test can give another one.
struct World {
  Host& host;
  std::filesystem::path base;                         // of the run directories
  std::function<topology::HostTopology()> read_host;  // read under the lock
  std::function<Facts(const Spec&)> facts;            // images are looked at before the lock
  std::function<std::expected<QemuFeatures, std::string>()> features;
  HostConfig config;
  MemoryOf memory_of = topology::read_numa_maps;  // where a process's pages lie
  std::chrono::milliseconds patience{30'000};     // for one QMP command
  std::chrono::milliseconds start_patience{
      std::chrono::hours(1)};  // preallocating a terabyte takes minutes; the user sees progress and can leave
};
World this_world(Host& host, const HostConfig& config);

// How a launch tells what it is doing. Both may be empty.
struct Teller {
  std::function<void(const std::string&)> say;       // things a user should know ("recovered what a crash of db left")
  std::function<void(const std::string&)> progress;  // a line that replaces the last one; "" clears it
  std::function<void()> check_cancelled;             // throws when the user wants out
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
};

// From a spec to a running, pinned VM. on_paused is called when every thread is where it shall be and the guest has not
// run an instruction. Throws ProblemsFound (nothing was done), NotUndone, or what failed with nested reasons (undone).
RunningVm launch(const Spec& spec, World& world, const Teller& teller,
                 const std::function<void(const LaunchPlan&)>& on_paused = {});

// The plan alone, by the same calls; nothing is written and no lock is taken.
struct Planned {
  LaunchPlan plan;
  topology::HostTopology host;  // as it was read
};
enum class Ledger { read, none };  // none: planning for another machine
std::expected<Planned, Problems> plan_only(const Spec& spec, World& world, Ledger ledger);

// After QEMU is gone (or to make it go): undoes everything. Returns what could not be undone.
std::vector<std::string> finish(Host& host, const VmDir& dir, const std::filesystem::path& base);

// Where a helper's words go; "" if the plan has none of this role.
std::string log_of(const LaunchPlan& plan, const std::string& role);

// What QEMU (or a helper) wrote last, by its log; "" when it wrote nothing.
std::string last_lines(const std::string& path);

// "a: b: c" of a nested exception.
std::string whole_story(const std::exception& error);

}  // namespace launcher::inline life
