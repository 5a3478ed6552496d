#include "launcher/plan/facts.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "launcher/devices/identity.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/facts/vm_uids.hpp"
#include "launcher/host/device_rules.hpp"
#include "launcher/steps/ledger.hpp"
#include "launcher/steps/run_base.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "topology/sysfs.hpp"
#include "topology/words.hpp"

namespace launcher::inline plan {

namespace {

bool may(const std::string& path, int mode) { return access(path.c_str(), mode) == 0; }

// KVM counts when /dev/kvm can be opened; auto uses it only when kvm_intel or kvm_amd is what serves it.
void look_at_kvm(Facts& facts) {
  struct stat info {};
  if (stat("/dev/kvm", &info) < 0) {
    facts.kvm_why = "there is no /dev/kvm (no virtualization extensions, or `modprobe kvm_intel` / `kvm_amd` is due)";
    return;
  }
  if (!may("/dev/kvm", R_OK | W_OK)) {
    const std::string why = denied_by_device_rules("/dev/kvm", errno);
    facts.kvm_why = why.empty() ? "/dev/kvm may not be opened by this user (join group kvm, or run as root)"
                                : "/dev/kvm cannot be opened: " + why;
    return;
  }
  facts.kvm = true;
  facts.kvm_open_to_all = (info.st_mode & 0006) == 0006;
  if ((info.st_mode & 0060) == 0060 && info.st_gid != 0) facts.kvm_group = info.st_gid;
  const topology::Sysfs sysfs;
  for (const char* module : {"kvm_intel", "kvm_amd"}) {
    if (sysfs.exists(std::string("/sys/module/") + module)) facts.kvm_module = module;
  }
  if (facts.kvm_module.empty()) {
    facts.kvm_why =
        "/dev/kvm is served neither by kvm_intel nor by kvm_amd, and such a KVM may not run ordinary guests (accel = "
        "\"kvm\" insists)";
  }
}

// A kind that starts a helper asks host.toml where it is.
template <class Kind>
DeviceFacts look(const Kind& one, const HostConfig& config) {
  if constexpr (requires { look_at(one, config); })
    return look_at(one, config);
  else
    return look_at(one);
}

std::string transparent_pages() {
  return topology::chosen_word(topology::Sysfs{}.read("/sys/kernel/mm/transparent_hugepage/enabled").value_or(""));
}

// Two names hash to one uid once in 100 million: the next uid is wanted only beside a VM that may have this one.
std::size_t uids_worth_asking(const std::filesystem::path& base, const std::string& name) {
  constexpr unsigned near = 2;  // what a VM has in place of its own, where that is somebody's
  const unsigned own = uid_of(name);
  const auto meets = [&](const VmDir& dir) { return dir.name() != name && own - uid_of(dir.name()) <= near; };
  return std::ranges::any_of(VmDir::all(base), meets) ? 2 : 1;
}

void look_at_boot_files(const Spec& spec, Facts& facts) {
  const auto look_at_file = [](const std::string& path) { return path.empty() ? "" : misfit(path, {S_IFREG}); };
  facts.kernel_misfit = look_at_file(spec.boot.kernel);
  facts.initrd_misfit = look_at_file(spec.boot.initrd);
  facts.firmware_misfit = look_at_file(spec.boot.firmware);
  facts.code_misfit = look_at_file(spec.boot.code);
  facts.variables_misfit = look_at_file(spec.boot.variables);
  const bool keeps = spec.boot.uefi || std::ranges::any_of(spec.devices, [](const Device& device) {
                       return std::holds_alternative<Tpm>(device);
                     });
  if (keeps && access(facts.state_base.c_str(), F_OK) == 0)
    facts.state_misfit = misfit(facts.state_base, {S_IFDIR}, W_OK | X_OK);
  const bool image = facts.uefi && facts.uefi->vars_format != "raw";
  const std::string vars =
      fmt::format("{}/{}/{}", facts.state_base, spec.name, image ? variables_image : variables_file);
  if (spec.boot.uefi && access(vars.c_str(), F_OK) == 0) facts.vars_misfit = misfit(vars, {S_IFREG}, R_OK | W_OK);
}

std::optional<std::uint64_t> limit_of(int resource) {
  rlimit limit{};
  const bool limited = getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return limited ? std::optional<std::uint64_t>(limit.rlim_cur) : std::nullopt;
}

}  // namespace

Facts gather_facts(const Spec& spec, const HostConfig& config, Cache cache) {
  Facts facts;
  facts.uid = geteuid();
  facts.root = facts.uid == 0;
  facts.run_base = run_base();
  facts.makers_of_vfs = makers_of_vfs(facts.run_base);
  if (config.user) {
    const passwd* user = getpwnam(config.user->c_str());
    if (user != nullptr)
      facts.user_uid = user->pw_uid;
    else
      facts.user_problem = fmt::format("host.toml says user = \"{}\", but this host has no such user", *config.user);
  }
  if (facts.root && !config.user) {
    facts.uids = free_ids_here(uid_of(spec.name), uids_worth_asking(facts.run_base, spec.name));
    facts.uid_note = shared_range_note();
  }
  facts.state_base = state_base(config);
  look_at_kvm(facts);
  facts.cpu = look_at_cpu(spec, config, facts.kvm, cache);
  facts.tuning = look_at_host_tuning(spec.host);
  facts.transparent_pages = transparent_pages();
  if (spec.boot.uefi && !spec.boot.code.empty())
    facts.uefi = firmware_of(spec.boot.code, spec.boot.variables, spec.boot.secure_boot);
  if (spec.boot.uefi && spec.boot.code.empty())
    facts.uefi = find_firmware(firmware_directories(find_qemu(config.qemu).value_or("")), spec.boot.secure_boot);
  facts.kept = look_at_kept_state(std::filesystem::path(facts.state_base) / spec.name);
  std::error_code none;
  const std::uintmax_t size = facts.uefi ? std::filesystem::file_size(facts.uefi->vars_template, none) : 0;
  if (!none) facts.uefi_variables_size = size;
  facts.memlock = limit_of(RLIMIT_MEMLOCK);
  facts.address_space = limit_of(RLIMIT_AS);
  for (const Device& device : spec.devices) {
    facts.devices.push_back(std::visit([&](const auto& one) { return look(one, config); }, device));
  }
  look_at_boot_files(spec, facts);
  return facts;
}

Facts assumed_facts(const Spec& spec, const topology::HostTopology& host) {
  Facts facts;
  facts.root = true;
  facts.uids = free_ids(uid_of(spec.name), 2, [](unsigned) { return false; }, {});
  facts.run_base = "/run/vmrun";
  facts.state_base = "/var/lib/vmrun";
  facts.transparent_pages = "madvise";
  facts.uefi = assumed_firmware(spec.boot.secure_boot);
  if (!spec.boot.code.empty()) facts.uefi = firmware_of(spec.boot.code, spec.boot.variables, spec.boot.secure_boot);
  facts.kvm = true;
  facts.kvm_module = host.is_amd() ? "kvm_amd" : "kvm_intel";
  facts.cpu = assumed_cpu_facts();
  facts.tuning = assumed_host_tuning(host);
  for (const Device& device : spec.devices) {
    facts.devices.push_back(std::visit(
        [&](const auto& one) {
          if constexpr (requires { assumed(one, host); })
            return DeviceFacts{assumed(one, host)};
          else
            return DeviceFacts{assumed(one)};
        },
        device));
  }
  return facts;
}

}  // namespace launcher::plan
