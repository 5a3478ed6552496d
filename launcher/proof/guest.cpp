// What the guest was promised to see: a running machine under the accelerator that was planned, its vCPUs' features and their number;
// and what was to be set inside, as its agent reads it.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "qmp/commands.hpp"

namespace launcher::inline proof {

namespace {

constexpr std::chrono::seconds qmp_wait{5};

// A machine of KVM's is a file that QEMU has open (kernel: Documentation/virt/kvm/api.rst, KVM_CREATE_VM).
void prove_accelerator(const Subject& subject, Rows& rows) {
  const std::string where = fmt::format("/proc/{}/fd", subject.qemu);
  const bool kvm =
      std::ranges::any_of(subject.files, [](const auto& file) { return file.second == "anon_inode:kvm-vm"; });
  rows.equal("accelerator", subject.plan.accel,
             subject.files.empty() ? std::nullopt : std::optional<std::string>(kvm ? "kvm" : "tcg"), where);
}

void prove_vcpus(const Subject& subject, Rows& rows) {
  const std::vector<::qmp::Vcpu> vcpus = ::qmp::query_cpus_fast(*subject.monitor, qmp_wait);
  const auto& seats = subject.plan.placement.vcpus;
  rows.equal("vCPUs", std::to_string(seats.size()), std::to_string(vcpus.size()), "QMP query-cpus-fast");
  for (const ::qmp::Vcpu& vcpu : vcpus) {
    const auto record =
        std::find_if(subject.state.threads.begin(), subject.state.threads.end(),
                     [&](const ThreadRecord& one) { return one.role == fmt::format("vcpu {}", vcpu.index); });
    if (record != subject.state.threads.end() && record->tid != vcpu.thread)
      rows.add(fmt::format("vCPU {}'s thread", vcpu.index), std::to_string(record->tid), std::to_string(vcpu.thread),
               "QMP query-cpus-fast", Outcome::lost);
    if (vcpu.index != 0) continue;
    for (const CpuFeature& feature : subject.plan.features) {
      const bool on = ::qmp::qom_get_flag(*subject.monitor, vcpu.qom_path, feature.name, qmp_wait);
      rows.equal("CPU feature " + feature.name, feature.on ? "on" : "off", on ? "on" : "off",
                 "QMP qom-get " + vcpu.qom_path);
    }
  }
}

}  // namespace

std::vector<Row> prove_guest_settings(const Subject& subject) {
  Rows rows("guest");
  const std::vector<GuestSetting> settings = subject.plan.guest.value_or(std::vector<GuestSetting>{});
  const std::map<std::size_t, GuestReading> read = read_guest_rows(subject.guest_rows.value_or(""));
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const auto found = read.find(i);
    if (found != read.end())
      rows.equal(settings[i].what, settings[i].wanted, found->second.is, found->second.where + " of the guest");
    else
      rows.add(settings[i].what, settings[i].wanted,
               subject.guest_rows ? "the guest's agent said nothing of it" : subject.no_guest_rows, "the guest's agent",
               Outcome::not_checked);
  }
  return rows.take();
}

std::vector<::qmp::Command> questions_of_guest() { return {{"query-status"}, {"query-cpus-fast"}}; }

std::vector<Row> prove_guest(const Subject& subject) {
  Rows rows("guest");
  prove_accelerator(subject, rows);
  if (subject.monitor == nullptr) {
    rows.add("what QEMU says of the guest", "as planned", "QEMU's monitor is held by somebody else", "QMP",
             Outcome::not_checked);
    return rows.take();
  }
  try {
    const std::string status = ::qmp::query_status(*subject.monitor, qmp_wait);
    const bool paused = subject.state.phase == Phase::paused;
    rows.equal("the machine", paused ? "paused" : "running", status, "QMP query-status");
    prove_vcpus(subject, rows);
  } catch (const std::exception& error) {
    rows.add("what QEMU says of the guest", "as planned", error.what(), "QMP", Outcome::not_checked);
  }
  return rows.take();
}

}  // namespace launcher::proof
