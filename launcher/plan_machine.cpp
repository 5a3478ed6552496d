// The accelerator, the board and the CPU the guest sees.
#include <fmt/format.h>

#include "launcher/plan_parts.hpp"

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

void add_machine(Draft& draft) {
  Opts machine(draft.machine);
  const auto set_known = [&](const char* property, bool value) {
    if (draft.qemu.has(std::string("machine.") + property)) machine.set(property, value);
  };
  if (draft.kvm()) set_known("pit", false);  // an emulated guest still needs it to calibrate its timer
  set_known("hpet", false);
  set_known("vmport", false);
  for (const auto& [property, value] : draft.needs.machine) machine.set(property, value);
  machine.set("dump-guest-core", false).set("mem-merge", false);
  if (draft.plan.placement.cells.size() == 1) machine.set("memory-backend", "ram0");
  draft.args.add("-machine", machine,
                 draft.kvm() ? "versioned: the guest sees the same board after a QEMU upgrade; no PIT (its kernel "
                               "thread runs unpinned), no HPET (exits)"
                             : "versioned: the guest sees the same board after a QEMU upgrade; no HPET",
                 draft.spec.machine == "q35" ? "guide 004" : "spec machine");
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
    if (!draft.kvm_group) draft.private_kvm = draft.plan.run_dir;  // the mount is seen by QEMU alone
  }
  draft.args.add("-accel", accel, draft.kvm() ? "hardware virtualization" : "emulation, one thread per vCPU",
                 draft.spec.accel ? "spec accel" : "host");
}

void add_cpu(Draft& draft) {
  const topology::GuestTopology& guest = draft.plan.placement.guest;
  const std::string model = draft.spec.cpu.model.value_or(draft.kvm() ? "host" : "max");
  Opts cpu(model);
  std::string why = draft.kvm() && model == "host" ? "every feature of this CPU" : "the CPU the guest sees";
  // not where QEMU's own threads share the vCPUs' CPUs: a guest that polls when idle would keep them from running
  if (draft.kvm() && draft.plan.pinned && !draft.plan.placement.exclusive.intersects(draft.plan.placement.emulator)) {
    cpu.set("kvm-hint-dedicated", true);
    why += ", told that its CPUs are its own";
  }
  if (draft.kvm() && model == "host" && guest.threads > 1 && draft.host.cpu_vendor == "AuthenticAMD")
    cpu.set("topoext", true);
  draft.args.add("-cpu", cpu, why, draft.spec.cpu.model ? "spec cpu.model" : "guide 004");
  draft.args.add("-smp",
                 Opts(std::to_string(draft.spec.cpu.count))
                     .set("sockets", guest.sockets)
                     .set("dies", guest.dies)
                     .set("cores", guest.cores)
                     .set("threads", guest.threads)
                     .set("maxcpus", draft.spec.cpu.count),
                 draft.plan.pinned ? "mirrors the host's cores under the vCPUs" : "every level written out",
                 "spec cpu.count");
}

}  // namespace launcher::parts
