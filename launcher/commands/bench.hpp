// One measured boot after the other: start, wait until ready, run the command, read its numbers, stop, put back. The rule: a boot is the
// sample; whatever goes wrong, the VM that was started is ended.
#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "launcher/commands/options.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/record/measured.hpp"
#include "launcher/record/metrics.hpp"
#include "launcher/spec/read_spec.hpp"
#include "launcher/watch/judge.hpp"
#include "topology/placement.hpp"

namespace launcher::commands {

struct Child {
  std::vector<std::string> argv;
  std::vector<std::string> environment = {};   // beside ours
  std::optional<topology::Placement> on = {};  // bound to the CPUs and nodes of this VM
  bool despite_signals = false;                // what puts back is not called off
};
struct ChildEnd {
  int code = 0;
  std::string out;
  double seconds = 0;  // from its start to its end
};
double seconds_since(std::chrono::steady_clock::time_point start);
// In our directory, with our environment. Throws when a signal asks us to stop, or the deadline is over; the child is ended then.
ChildEnd run_child(const Child& child, std::chrono::seconds patience);

// In the guest, by its agent; the first call waits until it answers.
void await_agent(const std::string& name, std::chrono::seconds patience);
ChildEnd run_in_guest(const std::string& name, const std::vector<std::string>& command, std::chrono::seconds patience);

enum class Where { guest, host, bare };  // bare: on the host, on the VM's CPUs and nodes, without the VM

inline constexpr const char* bare_knob = "bare";  // compares with the bare host instead of changing a key

class Bench {
 public:
  explicit Bench(const Options& options);  // throws UsageError
  const std::string& name() const { return name_; }
  const TomlDocument& document() const { return *document_; }

  // Why the VM cannot be had with these --set, too. Nothing is started.
  std::optional<std::string> why_not(const std::vector<std::string>& sets) const;

  // One boot with these --set beside those of the user, told as a JSON line where that is wanted.
  Boot boot(Boot boot, const std::vector<std::string>& sets);

 private:
  std::string self_, spec_, name_;
  std::vector<std::string> sets_, command_, record_;
  std::vector<Metric> metrics_;
  Where where_ = Where::guest;
  std::chrono::seconds ready_{120}, patience_{3600}, cooldown_{60}, stop_timeout_{10};
  bool json_ = false;
  std::optional<double> load_before_, heat_before_;
  std::string forwards_;
  std::optional<TomlDocument> document_;
  std::optional<Thresholds> thresholds_;  // nullopt: runs are not watched

  void cool_down();
  void start(const std::vector<std::string>& sets) const;
  void stop() const;
  std::expected<LaunchPlan, SpecErrors> plan(const std::vector<std::string>& sets) const;
  ChildEnd watched(Boot& boot, const std::vector<std::string>& sets) const;
  void measure(Boot& boot, const std::vector<std::string>& sets, std::chrono::steady_clock::time_point started) const;
  ChildEnd run_command(const Boot& boot, const std::vector<std::string>& sets) const;
  std::vector<std::string> environment(const Boot& boot, const topology::Placement& placement) const;
  topology::Placement placement(const std::vector<std::string>& sets) const;
};

// Those of `measure` and `ablate` alike.
std::vector<OptionInfo> bench_options();

}  // namespace launcher::commands
