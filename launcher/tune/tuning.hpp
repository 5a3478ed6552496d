// `vmrun host tune`: the run-time settings of this machine that a profile wants. The rule: a setting is a row of the table; only
// what is here, differs from what is wanted and belongs to nobody else is changed, by steps with their undo like a launch's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/checks/audit.hpp"
#include "launcher/host/host.hpp"
#include "launcher/steps/step.hpp"
#include "launcher/steps/vm_dir.hpp"

namespace launcher::inline tune {

namespace tuning {  // the profiles, named as in a spec; a row has those that want it
enum Profile : unsigned { latency = 1, throughput = 2, database = 4, density = 8, windows = 16, lab = 32 };
}
std::optional<unsigned> tuning_profile(std::string_view name);

// A file that a row's pattern has found.
struct TunedFile {
  std::string path;
  std::string now;    // as it would be written
  std::string value;  // what the row wants
};
// What to write there, or why the row's advice does not hold for it; neither: it is well as it is.
struct Verdict {
  std::optional<std::string> to = {};
  std::string leave = {};
};

struct Setting {
  std::string_view name;   // as the check that advises it (launcher/checks), where there is one
  std::string_view files;  // '#' stands for a number, '*' for any name, '?' for a letter
  unsigned profiles = 0;
  std::string_view value;
  Verdict (*judge)(const Audit&, const TunedFile&) = nullptr;  // nullptr: exactly the value
  std::string_view owners = {};                                // services that set it themselves, apart by spaces
  // Files that the kernel changes with it, apart by spaces; a name alone is in the same directory.
  std::string_view beside = {};
  std::string_view why, guide, cost;
};
std::vector<Setting> tuning_table();  // in the order of doing

struct SettingChange {  // of one file
  std::string setting, files, path, from, to;
  std::string why, guide, cost;
  std::vector<Step> steps;
};
struct LeftAlone {
  std::string setting, why;
};
struct Tuning {
  std::string profile;
  topology::CpuSet only;  // per-CPU settings of these CPUs, and masks without them; empty: of all CPUs, and no masks
  std::vector<SettingChange> changes;
  std::vector<LeftAlone> left;
};
// Reads, and changes nothing. busy: CPUs that interrupts are not to be moved to (other VMs').
Tuning plan_tuning(const Audit& audit, std::string_view profile, const topology::CpuSet& only = {},
                   const topology::CpuSet& busy = {});

// Under the lock: what an earlier tune changed goes back first, so that one revert is always enough.
struct Reverted {
  std::size_t put_back = 0;           // undos done
  std::vector<std::string> not_ours;  // files that somebody else has changed since: left
  std::vector<std::string> left;      // what could not be put back; a later revert tries again
};
Reverted revert_tuning(Host& host, const std::filesystem::path& base);
// Under the lock, after revert_tuning. Throws what the machine said when a step failed; all is put back then. Returns what
// the kernel did not let go (interrupts).
std::vector<std::string> perform_tuning(const Tuning& tuning, Host& host, const std::filesystem::path& base);

std::string tuning_text(const Tuning& tuning);
boost::json::object tuning_json(const Tuning& tuning);

}  // namespace launcher::tune
