// The VM an audit is for: what of a spec, its facts and its plan the checks ask about.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>

#include "launcher/checks/audit.hpp"
#include "launcher/plan/plan.hpp"

namespace launcher::inline checks {

using topology::CpuSet;

bool AuditedVm::huge() const { return placement && placement->page > topology::kib(4); }

CpuSet AuditedVm::cpus() const {
  CpuSet all;
  if (placement) {
    for (const topology::VcpuSeat& seat : placement->vcpus)
      if (seat.cpu) all.add(*seat.cpu);
  }
  return all;
}

std::vector<unsigned> AuditedVm::nodes() const {
  std::vector<unsigned> all;
  if (!placement) return all;
  for (const topology::MemoryCell& cell : placement->cells)
    all.insert(all.end(), cell.host_nodes.begin(), cell.host_nodes.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

bool AuditedVm::taps() const {
  return std::any_of(nics.begin(), nics.end(), [](const AuditedNic& nic) { return nic.tap; });
}

bool AuditedVm::user_net() const {
  return std::any_of(nics.begin(), nics.end(), [](const AuditedNic& nic) { return nic.user; });
}

namespace {

// "vfio-pci,host=0000:31:00.1,..." among the arguments the spec passes on as they are.
std::vector<std::string> passed_through(const std::vector<std::string>& extra_args) {
  std::vector<std::string> addresses;
  for (const std::string& arg : extra_args) {
    const auto at = arg.find("host=");
    if (!arg.starts_with("vfio-pci") || at == arg.npos) continue;
    std::string address = arg.substr(at + 5, arg.find(',', at) - at - 5);
    if (std::count(address.begin(), address.end(), ':') == 1) address.insert(0, "0000:");
    addresses.push_back(std::move(address));
  }
  return addresses;
}

}  // namespace

AuditedVm audited_vm(const Spec& spec, const Facts& facts, const LaunchPlan* plan, Problems problems) {
  AuditedVm vm{.name = spec.name,
               .pinned = spec.cpu.pin != topology::Pinning::off,
               .lock = spec.memory.lock != MemorySpec::Lock::off,
               .kvm = spec.accel != Accel::tcg,
               .placement = std::nullopt,
               .problems = std::move(problems),
               .disks = {},
               .nics = {},
               .passed_through = passed_through(spec.extra_args),
               .root = facts.root};
  if (plan != nullptr) {
    vm.placement = plan->placement;
    vm.kvm = plan->accel == "kvm";
    vm.pinned = plan->pinned;
  }
  unsigned disks = 0, nics = 0;
  for (std::size_t i = 0; i < spec.devices.size() && i < facts.devices.size(); ++i) {
    if (const Disk* disk = std::get_if<Disk>(&spec.devices[i]))
      vm.disks.push_back({fmt::format("disk[{}]", disks++), disk->path, "", std::get<Disk::Facts>(facts.devices[i])});
    if (const Pci* pci = std::get_if<Pci>(&spec.devices[i])) {
      const auto& seen = std::get<Pci::Facts>(facts.devices[i]);
      const std::string& address = seen.chosen ? seen.candidates.at(*seen.chosen).address : pci->address;
      if (!address.empty()) vm.passed_through.push_back(address);
    }
    if (const Nic* nic = std::get_if<Nic>(&spec.devices[i]))
      vm.nics.push_back(
          {fmt::format("net[{}]", nics++), nic->bridge, nic->mode == Nic::Mode::tap || nic->mode == Nic::Mode::macvtap,
           nic->mode == Nic::Mode::user || nic->mode == Nic::Mode::passt, std::get<Nic::Facts>(facts.devices[i])});
  }
  return vm;
}

std::string block_device_of(const topology::Sysfs& sysfs, const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return "";
  const dev_t device = S_ISBLK(info.st_mode) ? info.st_rdev : info.st_dev;
  std::error_code error;
  const auto real =
      std::filesystem::canonical(sysfs.at(fmt::format("/sys/dev/block/{}:{}", major(device), minor(device))), error);
  if (error) return "";
  return std::filesystem::exists(real / "partition", error) ? real.parent_path().filename() : real.filename();
}

}  // namespace launcher::checks
