// The accelerator and the board.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

void choose_accel(Draft& draft) {
  const bool good = draft.facts.kvm && !draft.facts.kvm_module.empty() && draft.qemu.has("accel.kvm");
  if (draft.spec.accel == Accel::kvm && !draft.facts.kvm)
    draft.problem("accel", "\"kvm\", but " + draft.facts.kvm_why,
                  "set accel = \"auto\" to fall back to TCG (emulation, many times slower)");
  if (draft.spec.accel == Accel::kvm && !draft.qemu.has("accel.kvm"))
    draft.problem("accel", "\"kvm\", but this QEMU was built without KVM",
                  "set accel = \"tcg\", or another qemu in /etc/vmrun/host.toml");
  draft.plan.accel = draft.spec.accel ? (*draft.spec.accel == Accel::kvm ? "kvm" : "tcg") : (good ? "kvm" : "tcg");
  if (!draft.spec.accel && !good)
    draft.note(fmt::format(
        "accel: TCG, so the guest is emulated and many times slower: {}",
        draft.facts.kvm_why.empty() ? std::string("this QEMU was built without KVM") : draft.facts.kvm_why));
}

void choose_machine(Draft& draft) {
  draft.machine = draft.spec.machine == "q35" ? draft.qemu.q35 : draft.spec.machine;
  if (!draft.qemu.machines.contains(draft.machine))
    draft.problem("machine", fmt::format("QEMU {} has no machine '{}'", draft.qemu.version, draft.machine),
                  fmt::format("set machine = \"q35\" (it becomes {} and is shown in the plan)", draft.qemu.q35));
  if (draft.spec.machine != "q35" && draft.qemu.deprecated_machines.contains(draft.machine))
    draft.note(fmt::format("machine: {} is deprecated in QEMU {} and will go", draft.machine, draft.qemu.version));
}

namespace {

void check_count(Draft& draft) {
  const unsigned count = draft.spec.cpu.count;
  for (const MachineLimit& limit : draft.qemu.limits) {
    if (limit.machine != draft.machine || count <= limit.cpus) continue;
    const auto best = std::max_element(draft.qemu.limits.begin(), draft.qemu.limits.end(),
                                       [](const auto& a, const auto& b) { return a.cpus < b.cpus; });
    draft.problem("cpu.count",
                  fmt::format("{}, but machine {} of QEMU {} has at most {} vCPUs", count, limit.machine,
                              draft.qemu.version, limit.cpus),
                  best->cpus >= count ? fmt::format("set machine = \"{}\", which has {}", draft.qemu.q35, best->cpus)
                                      : fmt::format("set count = {} or less, or take a newer QEMU", best->cpus));
    return;
  }
  const unsigned most = draft.facts.cpu.kvm_max_vcpus;
  if (draft.kvm() && most > 0 && count > most)
    draft.problem("cpu.count", fmt::format("{}, but this host's KVM gives a VM at most {} vCPUs", count, most),
                  fmt::format("set count = {} or less", most));
}

// Who shares which of the guest's caches.
void set_caches(Draft& draft, Opts& machine) {
  const CpuSpec& cpu = draft.spec.cpu;
  static constexpr const char* levels[] = {"core", "die", "socket"};
  unsigned index = 0;
  const auto set = [&](const char* key, std::initializer_list<const char*> caches, const OrAuto<CacheLevel>& level) {
    if (!level) return;
    if (!draft.qemu.has("machine.smp-cache")) {
      draft.problem(std::string("cpu.") + key,
                    fmt::format("QEMU {} cannot be told who shares a cache", draft.qemu.version),
                    "remove it, or take a QEMU whose machine has smp-cache (10.0 has)");
      return;
    }
    for (const char* cache : caches) {
      machine.set(fmt::format("smp-cache.{}.cache", index), cache);
      machine.set(fmt::format("smp-cache.{}.topology", index++), levels[static_cast<int>(*level)]);
    }
  };
  set("l1", {"l1d", "l1i"}, cpu.l1);
  set("l2", {"l2"}, cpu.l2);
  set("l3", {"l3"}, cpu.l3);
  const auto cells = std::ranges::count_if(draft.plan.placement.cells,
                                           [](const topology::MemoryCell& cell) { return !cell.vcpus.empty(); });
  if (cpu.l3 == CacheLevel::socket && cells > draft.plan.placement.guest.sockets)
    draft.problem("cpu.l3", "\"socket\", but a socket of this guest is of several NUMA nodes, and an L3 is of one",
                  "set l3 = \"die\", or leave it out");
}

}  // namespace

void add_machine(Draft& draft) {
  check_count(draft);
  Opts machine(draft.machine);
  const ClockSpec& clock = draft.spec.clock;
  // an emulated guest still needs the PIT to calibrate its timer
  set_timer(draft, machine, "pit", clock.pit, draft.kvm() ? OrAuto<bool>(false) : std::nullopt);
  set_timer(draft, machine, "hpet", clock.hpet, false);
  if (draft.qemu.has("machine.vmport")) machine.set("vmport", false);
  for (const auto& [property, value] : draft.needs.machine) machine.set(property, value);
  if (draft.spec.boot.uefi) {
    if (draft.facts.uefi && draft.facts.uefi->smm) machine.set("smm", true);
    machine.set("pflash0", "uefi-code").set("pflash1", "uefi-vars");
  }
  machine.set("dump-guest-core", draft.spec.memory.dump).set("mem-merge", draft.spec.memory.merge);
  if (!draft.has_guest_nodes()) machine.set("memory-backend", "ram0");
  set_caches(draft, machine);
  std::string why = "versioned: the guest sees the same board after a QEMU upgrade";
  if (draft.kvm() && !clock.pit.value_or(false)) why += "; no PIT (its kernel thread runs unpinned)";
  if (!clock.hpet.value_or(false)) why += draft.kvm() ? "; no HPET (exits)" : "; no HPET";
  draft.args.add("-machine", machine, why, draft.spec.machine == "q35" ? "guide 004" : "spec machine");
  if (draft.kvm() && clock.pit == true)
    draft.note("clock.pit: its kernel thread (kvm-pit) is the host's, and runs where the host lets it");
  Opts accel(draft.plan.accel);
  if (!draft.kvm()) accel.set("thread", "multi");
  if (draft.kvm() && draft.plan.uid && !draft.facts.kvm_open_to_all && draft.qemu.has("kvm.device")) {
    const int fd = draft.fds.take("/dev/kvm");
    draft.steps.push_back({OpenFile{"/dev/kvm", true, false, fd}, "QEMU's user has no right to it", "host"});
    draft.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", "/dev/kvm"), "the open /dev/kvm",
                   "host");
    accel.set("device", fmt::format("/dev/fdset/{}", fd));
  } else if (draft.kvm() && draft.plan.uid && !draft.facts.kvm_open_to_all) {
    draft.kvm_group = draft.facts.kvm_group;
    if (!draft.kvm_group) draft.private_nodes.emplace_back("/dev/kvm");
  }
  add_remapping(draft, accel);
  draft.args.add("-accel", accel, draft.kvm() ? "hardware virtualization" : "emulation, one thread per vCPU",
                 draft.spec.accel ? "spec accel" : "host");
  add_iommu(draft);
  if (draft.spec.sleep) return;
  for (const char* state : {"disable_s3", "disable_s4"})
    draft.args.add("-global", Opts().set("driver", "ICH9-LPC").set("property", state).set("value", 1),
                   "a guest that sleeps would be woken by nobody", "default");
}

}  // namespace launcher::parts
