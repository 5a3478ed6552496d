// Locks as commands make and read them: of a spec, of a running VM, of a file. The rule: making one changes nothing but the cache of
// digests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/commands/options.hpp"
#include "launcher/life/world.hpp"
#include "launcher/record/drift.hpp"
#include "launcher/record/lock.hpp"
#include "launcher/spec/read_spec.hpp"
#include "launcher/steps/vm_dir.hpp"

namespace launcher::commands {

// A world to plan in: nothing is written, not even what a QEMU was asked.
World dry_world(Host& host, const HostConfig& config);

// The spec as one file that says the same, with its name.
std::string whole_spec(const SpecFile& file);

LockTelling lock_telling(bool by_name);  // by_name: each image is told, and how it was identified
Naming naming_of(const Options& options);

LaunchLock lock_of_plan(const std::string& spec, const boost::json::object& plan, Naming naming,
                        const LockTelling& telling);
// Prints the spec's problems; nullopt then.
std::optional<LaunchLock> lock_of_spec(const SpecFile& file, const Options& options, const LockTelling& telling);

LaunchLock read_lock(const std::string& path);  // throws UsageError

// The spec that a lock holds; its problems are printed, and nullopt comes back.
std::optional<SpecFile> spec_of_lock(const LaunchLock& lock, const std::string& path, const Options& options);

// What the VM has to be started as, and in which groups it may differ.
struct Expected {
  LaunchLock lock;
  std::string path;  // of the lock
  std::vector<std::string> allow;
};
std::optional<Expected> expected_of(const Options& options, const std::string& path);

// It differs in a way that is not allowed: nothing was done.
class Drifted : public std::runtime_error {
 public:
  Drifted(const std::string& path, Comparison what)
      : std::runtime_error("this would not be the run of " + path), found(std::move(what)) {}
  Comparison found;
};
// The groups in which a drift was let pass. Throws Drifted.
std::vector<std::string> check_drift(const Expected& expected, const LaunchLock& now);
void print_drift(const Drifted& drifted, bool json);

}  // namespace launcher::commands
