// `vmrun host tune`, `revert` and `unpersist`: settings of the host for the sake of its VMs, put back by one command. There is
// no process that stays: what was changed is in the journal of RUN/.host, which goes with a reboot as the changes do.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/array.hpp>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/life/await_lock.hpp"
#include "launcher/spec/profiles.hpp"
#include "launcher/steps/ledger.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/tune/persist.hpp"
#include "launcher/tune/tuning.hpp"

namespace launcher::commands {

namespace {

void root_only(const char* what) {
  if (geteuid() != 0)
    throw UsageError(fmt::format("`vmrun host {}` writes the kernel's settings: it needs root", what));
}

// The CPUs of the VMs that --for names.
topology::CpuSet cpus_of(const std::vector<std::string>& names) {
  topology::CpuSet cpus;
  for (const std::string& name : names) {
    const auto dir = VmDir::find(run_base(), name);
    if (!dir || !dir->owner_alive()) throw UsageError(fmt::format("--for {}: no such VM runs here", printable(name)));
    const topology::CpuSet own = dir->reservation().cpus;
    if (own.empty())
      throw UsageError(fmt::format(
          "--for {}: it has no CPUs of its own (cpu.pin = \"off\"): tune the whole machine instead", printable(name)));
    cpus |= own;
  }
  return cpus;
}

std::string count_of(std::size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

boost::json::array array_of(const std::vector<std::string>& texts) {
  boost::json::array out;
  for (const std::string& text : texts) out.push_back(boost::json::string(text));
  return out;
}

std::string files_text(const Lasting& lasting) {
  std::string text;
  for (const DropIn& file : lasting.files) text += fmt::format("lasting  {}\n", (etc_dir() / file.path).string());
  if (!lasting.boot.empty()) text += fmt::format("boot     for the kernel's command line, by hand: {}\n", lasting.boot);
  return text;
}

Tuning look(const Audit& audit, const std::string& profile, const topology::CpuSet& only) {
  return plan_tuning(audit, profile, only, read_reservations(run_base()).cpus());
}

void tell(const Options& options, const Tuning& tuning, const std::optional<Lasting>& lasting,
          const std::vector<std::string>& passed_over) {
  const bool dry = options.flag("dry-run");
  if (options.flag("json")) {
    boost::json::object out = tuning_json(tuning);
    out["dry_run"] = dry;
    out["passed_over"] = array_of(passed_over);
    if (lasting) {
      boost::json::array files;
      for (const DropIn& file : lasting->files) files.push_back(boost::json::string((etc_dir() / file.path).string()));
      out["persisted"] = std::move(files);
      out["boot"] = lasting->boot;
    }
    print_json(out);
    return;
  }
  print(tuning_text(tuning) + (lasting ? files_text(*lasting) : ""));
  for (const std::string& one : passed_over) say("passed over: " + one);
  if (tuning.changes.empty())
    say(fmt::format("nothing to change for profile {}", tuning.profile));
  else if (dry)
    say(fmt::format("{} would be changed; nothing was", count_of(tuning.changes.size(), "file")));
  else
    say(fmt::format("{} changed; `vmrun host revert` puts all back", count_of(tuning.changes.size(), "file")));
}

}  // namespace

int host_tune(const Options& options) {
  const std::string& profile = options.word(0, "a profile");
  if (!tuning_profile(profile)) {
    std::string names;
    for (const std::string& name : profile_names()) names += (names.empty() ? "" : ", ") + name;
    throw UsageError(fmt::format("no profile '{}'; there are {}", printable(profile), names));
  }
  const bool dry = options.flag("dry-run"), lasts = options.flag("persist");
  if (lasts && !options.all("for").empty())
    throw UsageError("--persist with --for: after a boot the VM does not run, and may get other CPUs");
  if (!dry) root_only("tune");
  const topology::CpuSet only = cpus_of(options.all("for"));
  const topology::Sysfs sysfs;
  if (dry) {
    const Audit audit(sysfs, topology_below(sysfs));
    const Tuning tuning = look(audit, profile, only);
    tell(options, tuning, lasts ? std::optional(lasting_of(tuning, audit)) : std::nullopt, {});
    if (VmDir::of_host(run_base(), false)) say("the host is tuned already: that would be put back first");
    return done;
  }
  LinuxHost machine;
  const Lock lock = await_lock(run_base(), say);
  const Reverted before = revert_tuning(machine, run_base());
  for (const std::string& left : before.left) say(left);
  if (!before.left.empty()) return left_over;
  const Audit audit(sysfs, topology_below(sysfs));
  const Tuning tuning = look(audit, profile, only);
  const std::vector<std::string> passed_over = perform_tuning(tuning, machine, run_base());
  std::optional<Lasting> lasting;
  if (lasts) {
    lasting = lasting_of(tuning, audit);
    const auto written = persist(lasting->files, etc_dir(), state_base(host_config_or_throw(options)));
    if (!written) {
      revert_tuning(machine, run_base());
      throw std::runtime_error(written.error());
    }
  }
  tell(options, tuning, lasting, passed_over);
  return done;
}

int host_revert(const Options& options) {
  root_only("revert");
  LinuxHost machine;
  const Lock lock = await_lock(run_base(), say);
  const Reverted reverted = revert_tuning(machine, run_base());
  if (options.flag("json")) {
    print_json({{"put_back", reverted.put_back},
                {"not_ours", array_of(reverted.not_ours)},
                {"left", array_of(reverted.left)}});
  } else {
    for (const std::string& one : reverted.not_ours) say("left as it is: " + one);
    for (const std::string& one : reverted.left) say(one);
    say(reverted.put_back == 0 ? "nothing to put back" : "put back what `vmrun host tune` had changed");
  }
  return reverted.left.empty() ? done : left_over;
}

int host_unpersist(const Options& options) {
  const Lock lock = await_lock(run_base(), say);
  const Unpersisted result = unpersist(etc_dir(), state_base(host_config_or_throw(options)));
  if (options.flag("json")) {
    print_json({{"removed", array_of(result.removed)}, {"kept", array_of(result.kept)}});
  } else {
    for (const std::string& path : result.removed) say("removed " + path);
    for (const std::string& one : result.kept) say(one);
    if (result.removed.empty() && result.kept.empty()) say("nothing was persisted");
  }
  return result.kept.empty() ? done : left_over;
}

}  // namespace launcher::commands
