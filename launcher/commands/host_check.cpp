// `vmrun host check`: runs the host checks on this machine, or on the files of another one. It writes nothing. Exit code:
// 0 without a finding of level problem, 1 with one, 2 when spec or usage is wrong.
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "launcher/checks/audit.hpp"
#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/life/world.hpp"
#include "launcher/steps/ledger.hpp"
#include "topology/capture.hpp"
#include "topology/placement_json.hpp"
#include "topology/text_file.hpp"

namespace launcher::commands {

namespace {

// The root directory to look at: this machine's, a given one, or a capture unpacked for as long as it is looked at.
class MachineFiles {
 public:
  explicit MachineFiles(const std::optional<std::string>& given) {
    if (!given) return;
    root_ = *given;
    std::error_code error;
    if (!std::filesystem::is_directory(root_, error)) unpack(*given);
  }
  ~MachineFiles() {
    std::error_code ignored;
    if (ours_) std::filesystem::remove_all(root_, ignored);
  }
  MachineFiles(const MachineFiles&) = delete;
  MachineFiles& operator=(const MachineFiles&) = delete;
  const std::filesystem::path& root() const { return root_; }

 private:
  void unpack(const std::string& file) {
    const auto text = topology::read_text_file(file);
    if (!text) throw UsageError(fmt::format("--host {}: {}", file, text.error()));
    const auto files = topology::parse_capture(*text);
    if (!files) throw UsageError(fmt::format("--host {}: {}", file, files.error()));
    std::string name = (std::filesystem::temp_directory_path() / "vmrun-host-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error(std::strerror(errno));
    root_ = name;
    try {
      topology::unpack_capture(*files, root_);
    } catch (const std::exception& error) {  // a file where another one wants a directory
      std::filesystem::remove_all(root_);
      throw UsageError(fmt::format("--host {}: {}", file, error.what()));
    }
    ours_ = true;
  }

  std::filesystem::path root_ = "/";
  bool ours_ = false;
};

// Where a VM that runs already is, by its own plan; nullopt: it does not run.
std::optional<LaunchPlan> plan_of_running(const std::string& name) {
  const auto dir = VmDir::find(run_base(), name);
  const auto json = dir && dir->owner_alive() ? dir->read_plan() : std::nullopt;
  if (!json || !json->is_object() || !json->get_object().contains("placement")) return std::nullopt;
  LaunchPlan plan;
  plan.placement = topology::json::read<topology::Placement>(json->get_object().at("placement"), "placement");
  plan.accel = json->get_object().contains("accel") ? std::string(json->get_object().at("accel").as_string()) : "kvm";
  plan.pinned = std::any_of(plan.placement.vcpus.begin(), plan.placement.vcpus.end(),
                            [](const topology::VcpuSeat& seat) { return seat.cpu.has_value(); });
  return plan;
}

// The spec's VM on this machine: where it runs, or where it would.
AuditedVm vm_here(const Spec& spec, const Options& options, const topology::Sysfs& sysfs) {
  LinuxHost machine;
  const HostConfig config = host_config_or_throw(options);
  World world = this_world(machine, config);
  world.features = [config]() -> std::expected<QemuFeatures, std::string> {
    const auto binary = find_qemu(config.qemu);
    return binary ? qemu_features(*binary, Cache::read_only) : std::unexpected(binary.error());
  };
  Facts facts = world.facts(spec);
  world.facts = [&facts](const Spec&) { return facts; };
  AuditedVm vm;
  if (const auto running = plan_of_running(spec.name)) {
    vm = audited_vm(spec, facts, &*running, {});
  } else {
    const auto planned = plan_only(spec, world, Ledger::read);
    vm = planned ? audited_vm(spec, facts, &planned->plan, {}) : audited_vm(spec, facts, nullptr, planned.error());
  }
  for (AuditedDisk& disk : vm.disks) disk.block = block_device_of(sysfs, disk.path);
  return vm;
}

// On another machine, whose files nobody can look at, with this one's QEMU.
AuditedVm vm_there(const Spec& spec, const Options& options, const topology::HostTopology& host) {
  LinuxHost machine;
  const HostConfig config = host_config_or_throw(options);
  World world = this_world(machine, config);
  world.base = "/run/vmrun";
  world.read_host = [&host] { return host; };
  world.facts = [&host](const Spec& asked) { return assumed_facts(asked, host); };
  const auto planned = plan_only(spec, world, Ledger::none);
  const Facts facts = assumed_facts(spec, host);
  return planned ? audited_vm(spec, facts, &planned->plan, {}) : audited_vm(spec, facts, nullptr, planned.error());
}

}  // namespace

int host_check(const Options& options) {
  std::optional<SpecFile> file;
  if (!options.words().empty()) {
    file = read_spec_or_print(options);
    if (!file) return problems;
  }
  const auto other = options.value("host");
  const MachineFiles files(other);
  const topology::Sysfs sysfs(files.root());
  Audit audit(sysfs, topology_below(sysfs));
  if (other) {
    if (file) audit.vm = vm_there(file->spec, options, audit.host());
  } else {
    if (file) audit.vm = vm_here(file->spec, options, sysfs);
    audit.measure = measure_by_spinning();
    audit.others = read_reservations(run_base()).cpus();
  }
  const std::vector<Finding> findings = run_checks(audit);
  if (options.flag("json"))
    print_json_text(findings_json(findings));
  else
    print(findings_text(findings, options.flag("verbose")));
  const bool any = std::any_of(findings.begin(), findings.end(),
                               [](const Finding& finding) { return finding.level == Level::problem; });
  return any ? failed : done;
}

}  // namespace launcher::commands
