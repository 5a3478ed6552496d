// make_plan(): spec, host, ledger, QEMU and facts in; everything a launch will do out. Pure.
#include "launcher/plan/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>

#include "launcher/plan/parts.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline plan {

namespace {

using namespace parts;

// One that no other VM's QEMU has: else each could read what is the other's.
void choose_own_uid(Draft& draft) {
  const auto thing = [](unsigned uid) { return fmt::format("uid {}", uid); };
  for (const unsigned uid : draft.facts.uids) {
    const auto has = [&](const topology::Reservation& other) {
      return std::ranges::find(other.things, thing(uid)) != other.things.end();
    };
    if (std::ranges::any_of(draft.taken.vms, has)) continue;
    draft.plan.uid = uid;
    draft.claims.push_back({"name", thing(uid)});
    if (const unsigned usual = uid_of(draft.spec.name); uid != usual)
      draft.note(fmt::format("QEMU runs as uid {}, not as {}, which its name would give: that is somebody else's here",
                             uid, usual));
    if (!draft.facts.uid_note.empty()) draft.note(draft.facts.uid_note);
    return;
  }
  draft.problem("name", "each of the uids that this name gives is somebody else's on this host",
                "give the VM another name, or set user in /etc/vmrun/host.toml");
}

void choose_user(Draft& draft) {
  if (!draft.facts.user_problem.empty())
    draft.problem("", draft.facts.user_problem,
                  "make it with `useradd -r`, or remove the line: each VM then gets a uid of its own");
  if (!draft.facts.root) return;
  draft.plan.uid = draft.facts.user_uid;
  if (!draft.plan.uid) choose_own_uid(draft);
}

// People write the name of a firmware where its file, or the word for the host's own, is wanted.
std::string firmware_help(const std::string& path) {
  const std::string name = lowered(path.substr(path.rfind('/') + 1));
  if (name.find("ovmf") != name.npos || name.find("efi") != name.npos || name.find("edk2") != name.npos)
    return "did you mean \"uefi\"? It takes this host's own (Debian: apt install ovmf)";
  if (name.find("bios") != name.npos) return "did you mean \"seabios\"? It is QEMU's own, and the default";
  return "write \"uefi\" or \"seabios\" for this host's own, or correct the path";
}

void check_boot_files(Draft& draft) {
  const auto check = [&](const std::string& misfit, const char* key, const char* wanted, const std::string& help) {
    if (!misfit.empty()) draft.problem(std::string("boot.") + key, misfit + "; wanted " + wanted, help);
  };
  const Facts& facts = draft.facts;
  const std::string help = "correct the path or its permissions, or remove it to boot from a disk";
  check(facts.kernel_misfit, "kernel", "a kernel image that this user may read", help);
  check(facts.initrd_misfit, "initrd", "an initial RAM disk that this user may read",
        "correct the path or its permissions");
  check(facts.firmware_misfit, "firmware", "\"uefi\", \"seabios\" or a file that this user may read",
        firmware_help(draft.spec.boot.firmware));
  check(facts.code_misfit, "code", "a file that this user may read", "correct the path or its permissions");
  check(facts.variables_misfit, "variables", "a file that this user may read", "correct the path or its permissions");
  if (!facts.state_misfit.empty())
    draft.problem("", facts.state_misfit + "; wanted a directory for what VMs keep between runs",
                  "correct state_dir in /etc/vmrun/host.toml");
  check(facts.vars_misfit, "firmware", "the variables that this VM kept", "move it away: the VM then gets new ones");
}

void add_identity(Draft& draft) {
  draft.args.add("-name", Opts().set("guest", draft.spec.name).set("debug-threads", true),
                 "threads carry their role's name", "default");
  draft.args.add("-uuid", Opts(draft.plan.uuid),
                 !draft.spec.uuid.empty()  ? "the one given"
                 : draft.host_id().empty() ? "derived from the name"
                                           : "derived from the name and this host's machine-id",
                 draft.spec.uuid.empty() ? "default" : "spec uuid");
  draft.args.add("-nodefaults", "nothing that was not asked for", "default");
  draft.args.add("-no-user-config", "the same launch whatever lies in /etc/qemu", "default");
}

void add_security(Draft& draft) {
  draft.args.add("-sandbox",
                 Opts("on")
                     .set("obsolete", "deny")
                     .set("elevateprivileges", "deny")
                     .set("spawn", "deny")
                     .set("resourcecontrol", "deny"),
                 "the full seccomp denial set", "default");
  draft.args.add("-display", Opts("none"), "no window", "default");
}

void add_monitors(Draft& draft) {
  draft.monitor_fd = draft.fds.take("private QMP");
  draft.args.add("-chardev", Opts("socket").set("id", "control").set("fd", draft.monitor_fd),
                 "vmrun's own line to QEMU: one end of a socketpair", "default");
  draft.args.add("-qmp", Opts("chardev:control"), "QMP on it", "default");
  const int fd = draft.fds.take("QMP socket");
  draft.steps.push_back(
      {Listen{draft.plan.run_dir + "/qmp.sock", fd}, "for `vmrun stop`, `vmrun qmp` and your own tools", "default"});
  draft.args.add("-chardev", Opts("socket").set("id", "qmp").set("fd", fd).set("server", true).set("wait", false),
                 "listening before QEMU exists: nobody has to retry", "default");
  draft.args.add("-qmp", Opts("chardev:qmp"), "QMP on it", "default");
}

// A file QEMU opens by itself: handed over as an fd, named through /proc.
std::string handed_over(Draft& draft, const std::string& path, const std::string& key) {
  const int fd = draft.fds.take(key);
  draft.steps.push_back({OpenFile{path, false, true, fd}, "QEMU gets the open file, not the path", "spec boot." + key});
  return fmt::format("/proc/self/fd/{}", fd);
}

void add_boot(Draft& draft) {
  const BootSpec& boot = draft.spec.boot;
  // plain values: these options take a file name or text as it is, commas and all
  const auto add = [&](const char* option, const std::string& value, const char* why, const char* origin) {
    draft.args.add_plain({option, value, why, origin});
  };
  if (boot.uefi) add_uefi(draft);
  if (!boot.firmware.empty())
    add("-bios", handed_over(draft, boot.firmware, "firmware"), "the firmware given", "spec boot.firmware");
  if (!boot.kernel.empty())
    add("-kernel", handed_over(draft, boot.kernel, "kernel"), "booted directly, without a boot loader",
        "spec boot.kernel");
  if (!boot.initrd.empty())
    add("-initrd", handed_over(draft, boot.initrd, "initrd"), "its initial file system", "spec boot.initrd");
  if (!boot.cmdline.empty()) add("-append", boot.cmdline, "its command line", "spec boot.cmdline");
  draft.args.add("-boot", Opts().set("strict", true), "only what the spec names is booted from", "default");
}

// Always there, as function 0 of the slot that the VM's single devices share.
void add_panic_device(Draft& draft) {
  Opts device("pvpanic-pci");
  device.set("id", "panic0");
  set_address(device, Single::panic);
  draft.args.add("-device", device, "a guest's panic is told to vmrun", "default");
}

void add_end(Draft& draft) {
  static constexpr const char* actions[] = {"exit-failure", "pause", "none"};
  static constexpr const char* reasons[] = {"a guest panic ends QEMU with an error, so that a unit sees it",
                                            "a guest that panicked stays as it is, to be looked at",
                                            "a guest that panicked goes on as it is set to"};
  const auto action = static_cast<std::size_t>(draft.spec.panic);
  draft.args.add("-action", Opts().set("panic", actions[action]), reasons[action],
                 draft.spec.panic == PanicAction::exit ? "default" : "spec panic.action");
  draft.args.add("-S", "paused until every thread is where this plan says", "default");
  add_extra_args(draft);
}

std::expected<LaunchPlan, Problems> make(Draft& draft) {
  draft.plan.name = draft.spec.name;
  draft.plan.uuid = draft.spec.uuid.empty() ? uuid_of(draft.spec.name, draft.host_id()) : draft.spec.uuid;
  if (!draft.spec.uuid.empty()) draft.claims.push_back({"uuid", "UUID " + draft.spec.uuid});
  draft.plan.qemu = draft.qemu.binary;
  draft.plan.qemu_version = draft.qemu.version;
  draft.plan.run_dir = draft.facts.run_base + "/" + draft.spec.name;
  if (!draft.spec.profile_story.empty()) draft.note(draft.spec.profile_story);
  sum_needs(draft);
  choose_user(draft);
  choose_accel(draft);
  choose_machine(draft);
  place_guest(draft);
  fit_shape_to_accel(draft);
  choose_isolation(draft);
  check_boot_files(draft);
  if (!draft.placed) {
    add_devices(draft);  // for their problems: all are shown together
    add_kept_state(draft);
  } else {
    add_identity(draft);
    add_machine(draft);
    add_cpu(draft);
    add_rtc(draft);
    add_memory(draft);
    add_security(draft);
    add_monitors(draft);
    add_panic_device(draft);
    add_devices(draft);
    add_boot(draft);
    add_kept_state(draft);
    add_end(draft);
    add_schedule(draft);
    add_steps(draft);
  }
  claim_things(draft);
  if (!draft.problems.empty()) return std::unexpected(std::move(draft.problems));
  draft.plan.args = draft.args.list();
  return std::move(draft.plan);
}

// Which of several functions a [[pci]] takes depends on what others have.
void choose_functions(const Spec& spec, Facts& facts, const topology::Reservations& taken) {
  std::vector<std::pair<const Pci*, Pci::Facts*>> asked;
  for (std::size_t i = 0; i < spec.devices.size(); ++i)
    if (const Pci* pci = std::get_if<Pci>(&spec.devices[i]))
      asked.emplace_back(pci, &std::get<Pci::Facts>(facts.devices.at(i)));
  std::map<std::string, std::string> owners;
  for (const topology::Reservation& other : taken.vms)
    for (const std::string& thing : other.things) owners[thing] = other.owner;
  launcher::choose_functions(asked, owners, facts.makers_of_vfs);
}

}  // namespace

const StartQemu& LaunchPlan::start() const { return std::get<StartQemu>(steps.back().step); }

std::expected<LaunchPlan, Problems> make_plan(const Spec& spec, const topology::HostTopology& host,
                                              const HostConfig& config, const topology::Reservations& taken,
                                              const QemuFeatures& qemu, const Facts& facts) {
  Facts settled = facts;
  choose_functions(spec, settled, taken);
  parts::Draft draft{.spec = spec, .host = host, .config = config, .taken = taken, .qemu = qemu, .facts = settled};
  draft.devices = parts::planned_devices(spec, settled);
  return make(draft);
}

}  // namespace launcher::plan
