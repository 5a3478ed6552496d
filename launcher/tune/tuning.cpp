#include "launcher/tune/tuning.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cctype>
#include <sstream>
#include <utility>

#include "launcher/steps/kernel_text.hpp"
#include "launcher/steps/transaction.hpp"

namespace launcher::inline tune {

using topology::CpuSet;

namespace {

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// '#': one digit or more, '*': anything, '?': one character.
bool matches(std::string_view name, std::string_view pattern) {
  if (pattern.empty()) return name.empty();
  const char first = pattern.front();
  if (first != '#' && first != '*')
    return !name.empty() && (first == '?' || first == name.front()) && matches(name.substr(1), pattern.substr(1));
  if (first == '*' && matches(name, pattern.substr(1))) return true;
  if (name.empty() || (first == '#' && !is_digit(name.front()))) return false;
  return matches(name.substr(1), pattern) || (first == '#' && matches(name.substr(1), pattern.substr(1)));
}

void find(const topology::Sysfs& sysfs, const std::string& done, std::string_view rest,
          std::vector<std::string>& found) {
  const auto wild = rest.find_first_of("#*?");
  if (wild == rest.npos) {
    found.push_back(done + std::string(rest));
    return;
  }
  const auto begin = rest.rfind('/', wild), end = std::min(rest.find('/', wild), rest.size());
  const std::string directory = done + std::string(rest.substr(0, begin));
  for (const std::string& name : sysfs.list(directory))
    if (matches(name, rest.substr(begin + 1, end - begin - 1)))
      find(sysfs, fmt::format("{}/{}", directory, name), rest.substr(end), found);
}

std::vector<std::string> files_of(const Audit& audit, std::string_view pattern) {
  std::vector<std::string> found;
  find(audit.sysfs(), "", pattern, found);
  return found;
}

// "/sys/devices/system/cpu/cpu7/..."; nullopt: of no CPU
std::optional<unsigned> cpu_of(std::string_view path) {
  constexpr std::string_view start = "/sys/devices/system/cpu/cpu";
  if (!path.starts_with(start) || path.size() == start.size() || !is_digit(path[start.size()])) return std::nullopt;
  return static_cast<unsigned>(std::strtoul(std::string(path.substr(start.size())).c_str(), nullptr, 10));
}

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  return {std::istream_iterator<std::string>(in), {}};
}

std::string owner_of(const Audit& audit, std::string_view services) {
  for (const std::string& service : words_of(services))
    if (audit.service_runs(service)) return service;
  return "";
}

// Root may open what nobody may write; the kernel's files then refuse the write itself.
bool is_writable(const Audit& audit, const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(audit.sysfs().at(path), error);
  return !error && (status.permissions() & std::filesystem::perms::owner_write) != std::filesystem::perms::none;
}

std::string owned_by(const std::string& owner) {
  if (owner == "tuned") return "tuned runs and owns it: `tuned-adm profile virtual-host`, or stop tuned";
  if (owner == "power-profiles-daemon") return owner + " runs and owns it: `powerprofilesctl set performance`";
  if (owner == "ksmtuned") return "ksmtuned runs and steers it: `systemctl disable --now ksmtuned`";
  if (owner == "irqbalance") return "irqbalance runs and owns it: ban these CPUs there, or stop it";
  return owner + " runs and sets it";
}

void leave(Tuning& tuning, std::string_view setting, std::string why) {
  for (const LeftAlone& one : tuning.left)
    if (one.setting == setting && one.why == why) return;
  tuning.left.push_back({std::string(setting), std::move(why)});
}

std::vector<Step> steps_of(const Audit& audit, const Setting& setting, const TunedFile& file, const std::string& to) {
  std::vector<Step> steps;
  for (const std::string& other : words_of(setting.beside)) {
    const std::string pattern = other.starts_with('/') ? other : file.path.substr(0, file.path.rfind('/') + 1) + other;
    for (const std::string& path : files_of(audit, pattern))
      if (const auto value = audit.text(path))
        steps.emplace_back(ChangeFile{path, Beside{value_of(*value), file.path, file.now}});
  }
  steps.emplace_back(ChangeFile{file.path, Value{file.now, to}});
  return steps;
}

void plan_setting(const Audit& audit, const Setting& setting, Tuning& tuning) {
  const std::string owner = owner_of(audit, setting.owners);
  for (const std::string& path : files_of(audit, setting.files)) {
    if (const auto cpu = cpu_of(path); cpu && !tuning.only.empty() && !tuning.only.contains(*cpu)) continue;
    const auto text = audit.text(path);
    if (!text) continue;
    const TunedFile file{path, value_of(*text), std::string(setting.value)};
    Verdict verdict;
    if (setting.judge != nullptr)
      verdict = setting.judge(audit, file);
    else if (!same_value(path, file.now, setting.value))
      verdict.to = file.value;
    if (!verdict.leave.empty()) leave(tuning, setting.name, verdict.leave);
    if (!verdict.to) continue;
    if (!owner.empty())
      leave(tuning, setting.name, owned_by(owner));
    else if (!is_writable(audit, path))
      leave(tuning, setting.name, path + " cannot be written in this kernel");
    else
      tuning.changes.push_back({std::string(setting.name), std::string(setting.files), path, file.now, *verdict.to,
                                std::string(setting.why), std::string(setting.guide), std::string(setting.cost),
                                steps_of(audit, setting, file, *verdict.to)});
  }
}

// An interrupt that some driver listens to, and that is not of a device which a VM has.
bool is_somebodys(const Audit& audit, const std::string& directory) {
  for (const std::string& name : audit.sysfs().list(directory))
    if (audit.sysfs().is_directory(fmt::format("{}/{}", directory, name))) return !name.starts_with("vfio");
  return false;
}

struct MaskRow {
  std::string_view name, files, why, guide, cost;
};

void plan_mask(const Audit& audit, const MaskRow& row, const CpuSet& instead, Tuning& tuning) {
  for (const std::string& path : files_of(audit, row.files)) {
    const bool interrupt = row.name == "stray-irqs";
    if (interrupt && !is_somebodys(audit, path.substr(0, path.rfind('/')))) continue;
    const auto text = audit.text(path);
    const CpuSet now = mask_of(path, text.value_or(""));
    Cpus change = mask_change(now, tuning.only, instead);
    if (change.remove.empty()) continue;
    if (((now - change.remove) | change.add).empty()) {
      leave(tuning, row.name, "no CPU would be left for it");
      continue;
    }
    if (interrupt && audit.service_runs("irqbalance") && !audit.isolated().contains(tuning.only)) {
      leave(tuning, row.name, owned_by("irqbalance"));
      continue;
    }
    if (interrupt) {
      const auto effective = audit.cpu_list(path.substr(0, path.rfind('/')) + "/effective_affinity_list");
      if (effective && effective->size() == 1) change.back_on = effective->first();
    }
    const CpuSet to = (now - change.remove) | change.add;
    tuning.changes.push_back({std::string(row.name),
                              std::string(row.files),
                              path,
                              value_of(*text),
                              mask_text(path, to),
                              std::string(row.why),
                              std::string(row.guide),
                              std::string(row.cost),
                              {ChangeFile{path, change}}});
  }
}

void plan_masks(const Audit& audit, const CpuSet& busy, Tuning& tuning) {
  CpuSet instead = audit.host().all_cpus() - tuning.only - busy - audit.isolated();
  if (instead.empty()) instead = audit.host().all_cpus() - tuning.only;
  const MaskRow rows[] = {
      // first, so that an interrupt which appears meanwhile is already kept away
      {"irq-affinity", "/proc/irq/default_smp_affinity", "a device that appears later puts its interrupts there",
       "001 3.2.1, 002", "the other CPUs take more interrupts"},
      {"stray-irqs", "/proc/irq/#/smp_affinity_list", "each interrupt there takes the vCPU out of its guest",
       "001 3.2.1 \"IRQ Affinity\", 002", "the other CPUs take them"},
      {"workqueues", "/sys/devices/virtual/workqueue/cpumask", "unbound work is housekeeping", "001 3.2.7",
       "the other CPUs do that work"}};
  for (const MaskRow& row : rows) plan_mask(audit, row, instead, tuning);
}

// What guides advise, and what is never done, whatever the profile.
void tell_what_does_not_hold(const Audit& audit, unsigned profile, Tuning& tuning) {
  if ((profile & (tuning::throughput | tuning::density)) != 0 && !audit.exists("/proc/sys/net/bridge"))
    leave(tuning, "bridge-netfilter",
          "br_netfilter is not loaded: guide 004 loads it and turns it off, but loading it is what costs");
  if ((profile & (tuning::throughput | tuning::database)) != 0 && !files_of(audit, "/sys/block/nvme*/queue").empty())
    leave(tuning, "nr-requests", "without a scheduler the queue has the device's own length; the kernel refuses more");
  if ((profile & (tuning::throughput | tuning::density)) != 0 && !audit.exists("/sys/module/vhost_net"))
    leave(tuning, "vhost-net",
          audit.exists("/dev/vhost-net") ? "root's first open of /dev/vhost-net loads it"
                                         : "no /dev/vhost-net: `modprobe vhost_net`");
  if (profile != tuning::lab && profile != tuning::density)
    leave(tuning, "pools", "vmrun raises each node's pool of huge pages by what a VM lacks, and trims it at its end");
}

}  // namespace

Tuning plan_tuning(const Audit& audit, std::string_view profile, const CpuSet& only, const CpuSet& busy) {
  Tuning tuning{.profile = std::string(profile), .only = only, .changes = {}, .left = {}};
  const unsigned bit = tuning_profile(profile).value_or(0);
  for (const Setting& setting : tuning_table())
    if ((setting.profiles & bit) != 0) plan_setting(audit, setting, tuning);
  if (!only.empty()) plan_masks(audit, busy, tuning);
  tell_what_does_not_hold(audit, bit, tuning);
  return tuning;
}

Reverted revert_tuning(Host& host, const std::filesystem::path& base) {
  Reverted reverted;
  const auto dir = VmDir::of_host(base, false);
  if (!dir) return reverted;
  const std::vector<Owed> pending = dir->journal().read().owed;
  for (const Owed& owed : pending) {
    const auto* back = std::get_if<ChangeBack>(&owed.undo);
    const auto* ours = back != nullptr ? std::get_if<Value>(&back->change) : nullptr;
    const auto now = ours != nullptr ? host.kernel.read(back->path) : std::nullopt;
    if (now && !same_value(back->path, *now, ours->before) && !same_value(back->path, *now, ours->value))
      reverted.not_ours.push_back(
          fmt::format("{} reads '{}', which is not what tune wrote ('{}')", back->path, value_of(*now), ours->before));
  }
  reverted.left = unwind(host, *dir, base);
  reverted.put_back = pending.size() - std::min(pending.size(), reverted.left.size());
  return reverted;
}

std::vector<std::string> perform_tuning(const Tuning& tuning, Host& host, const std::filesystem::path& base) {
  const VmDir dir = VmDir::of_host(base, true).value();
  dir.write_plan(boost::json::serialize(boost::json::object{{"profile", tuning.profile}}));
  Transaction transaction(host, dir, std::nullopt);
  try {
    for (const SettingChange& change : tuning.changes)
      for (const Step& step : change.steps) transaction.perform(step);
  } catch (const std::exception&) {
    unwind(host, dir, base);
    throw;
  }
  return std::move(transaction.opened().passed_over);
}

}  // namespace launcher::tune
