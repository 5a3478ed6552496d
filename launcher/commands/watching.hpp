// A window over a VM while we do something else. The rule: a thread of its own looks; whoever made it stands off the VM's CPUs
// meanwhile, and so does what that one starts.
#pragma once

#include <atomic>
#include <expected>
#include <optional>
#include <string>
#include <thread>

#include "launcher/commands/options.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "launcher/watch/run.hpp"

namespace launcher::commands {

Thresholds thresholds_of(const Options& options);  // --threshold NAME=NUMBER; throws UsageError

class Watching {
 public:
  Watching(const VmDir& dir, const Thresholds& thresholds);  // the first look is taken when this returns
  ~Watching();
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;
  std::expected<Watched, std::string> end();  // the error: why it was not watched to its end

 private:
  std::atomic<bool> over_ = false;
  std::expected<Watched, std::string> found_;
  std::optional<topology::CpuSet> before_;
  std::thread thread_;
};

}  // namespace launcher::commands
