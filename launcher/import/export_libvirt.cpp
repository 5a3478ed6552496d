// The plan as a libvirt domain: CPUs, memory and what the board is. (The devices: export_devices.cpp.)
#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <set>

#include "launcher/import/export.hpp"
#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

std::string kib(topology::Bytes bytes) { return std::to_string(bytes.count >> 10); }

void memory(Domain& to) {
  to.root.add("memory", kib(to.spec.memory.size)).set("unit", "KiB");
  XmlElement& backing = to.root.add("memoryBacking");
  const topology::Placement& placement = to.plan.placement;
  if (placement.page >= topology::mib(2)) {
    backing.add("hugepages").add("page").set("size", kib(placement.page)).set("unit", "KiB");
    to.row("memory.page", Verb::changed,
           "libvirt takes pages that are in the pools already: reserve them before it starts");
  }
  if (!to.spec.memory.merge) backing.add("nosharepages");
  if (to.spec.memory.lock != MemorySpec::Lock::off) backing.add("locked");
  if (to.shares_memory()) {
    if (placement.page < topology::mib(2)) backing.add("source").set("type", "memfd");
    backing.add("access").set("mode", "shared");
  }
  if (to.spec.memory.prealloc.value_or(placement.page >= topology::mib(2)))
    backing.add("allocation").set("mode", "immediate");
  if (to.spec.memory.max)
    to.row("memory.max", Verb::dropped,
           "no memory can be added: libvirt's virtio-mem wants a <maxMemory> and a device of its own");
}

topology::CpuSet nodes_of(const topology::MemoryCell& cell) {
  topology::CpuSet nodes;
  for (const unsigned node : cell.host_nodes) nodes.add(node);
  return nodes;
}

void numa(Domain& to) {
  constexpr const char* modes[] = {"strict", "preferred", "interleave"};
  const topology::Placement& placement = to.plan.placement;
  const char* mode = modes[static_cast<int>(placement.policy)];
  topology::CpuSet all;
  for (const topology::MemoryCell& cell : placement.cells) all |= nodes_of(cell);
  if (all.empty()) return;
  XmlElement& tune = to.root.add("numatune");
  tune.add("memory").set("mode", mode).set("nodeset", all.to_string());
  if (placement.cells.size() < 2) return;
  for (const topology::MemoryCell& cell : placement.cells)
    tune.add("memnode")
        .set("cellid", std::to_string(cell.guest_node))
        .set("mode", mode)
        .set("nodeset", nodes_of(cell).to_string());
}

void cpus(Domain& to) {
  const LaunchPlan& plan = to.plan;
  to.root.add("vcpu", std::to_string(to.spec.cpu.count)).set("placement", "static");
  if (!plan.iothreads.empty()) to.root.add("iothreads", std::to_string(plan.iothreads.size()));
  XmlElement& tune = to.root.add("cputune");
  if (to.spec.schedule.weight) tune.add("shares", std::to_string(*to.spec.schedule.weight));
  if (to.spec.schedule.quota) {
    tune.add("global_period", "100000");
    tune.add("global_quota", std::to_string(*to.spec.schedule.quota * 1000ULL));
  }
  for (const topology::VcpuSeat& seat : plan.placement.vcpus)
    if (seat.cpu) tune.add("vcpupin").set("vcpu", std::to_string(seat.vcpu)).set("cpuset", std::to_string(*seat.cpu));
  if (!plan.placement.emulator.empty()) tune.add("emulatorpin").set("cpuset", plan.placement.emulator.to_string());
  for (std::size_t i = 0; i < plan.iothreads.size() && i < plan.placement.iothreads.size(); ++i)
    if (!plan.placement.iothreads[i].empty())
      tune.add("iothreadpin")
          .set("iothread", std::to_string(i + 1))
          .set("cpuset", plan.placement.iothreads[i].to_string());
  const std::string every = fmt::format("0-{}", to.spec.cpu.count - 1);
  if (plan.vcpu_fifo > 0)
    tune.add("vcpusched").set("vcpus", every).set("scheduler", "fifo").set("priority", std::to_string(plan.vcpu_fifo));
  if (plan.iothread_fifo > 0 && !plan.iothreads.empty())
    tune.add("iothreadsched")
        .set("iothreads", fmt::format("1-{}", plan.iothreads.size()))
        .set("scheduler", "fifo")
        .set("priority", std::to_string(plan.iothread_fifo));
  if (plan.vhost_workers > 0)
    to.row("vhost workers", Verb::dropped,
           "libvirt pins none of vhost's threads: they run on emulatorpin's CPUs where the kernel makes them QEMU's");
  if (plan.core_cookie) to.row("schedule.core", Verb::dropped, "no core scheduling");
  if (!to.spec.schedule.l3.empty())
    to.row("schedule.l3", Verb::dropped, "libvirt's cachetune takes sizes, not masks of ways");
  if (to.spec.host.asks()) to.row("host", Verb::dropped, "libvirt leaves the host's other settings as they are");
}

void cpu_model(Domain& to) {
  const CpuSpec& cpu = to.spec.cpu;
  const std::string model = to.cpu_model();
  XmlElement& element = to.root.add("cpu");
  if (model == "host") {
    element.set("mode", "host-passthrough").set("check", "none").set("migratable", "off");
  } else if (model == "max") {
    element.set("mode", "maximum").set("check", "none");
  } else {
    element.set("mode", "custom").set("match", "exact").set("check", "none");
    element.add("model", model).set("fallback", "forbid");
  }
  const topology::GuestTopology& shape = to.plan.placement.guest;
  element.add("topology")
      .set("sockets", std::to_string(shape.sockets))
      .set("dies", std::to_string(shape.dies))
      .set("cores", std::to_string(shape.cores))
      .set("threads", std::to_string(shape.threads));
  if (cpu.host_caches == true) element.add("cache").set("mode", "passthrough");
  std::set<std::string> named;
  const auto feature = [&](const std::string& name, const char* policy) {
    if (name.starts_with("kvm"))
      return to.row("cpu: " + name, Verb::dropped, "a service of KVM that libvirt has no feature of that name for");
    if (named.insert(name).second) element.add("feature").set("policy", policy).set("name", name);
  };
  for (const std::string& name : cpu.require) feature(name, "require");
  for (const std::string& name : cpu.add) feature(name, "force");
  for (const std::string& name : cpu.remove) feature(name, "disable");
  if (to.spec.clock.invtsc == true || (!to.spec.clock.invtsc && to.arg("-cpu").find("invtsc=on") != std::string::npos))
    feature("invtsc", "require");
  if (to.plan.placement.cells.size() < 2) return;
  XmlElement& cells = element.add("numa");
  for (const topology::MemoryCell& cell : to.plan.placement.cells) {
    topology::CpuSet vcpus;
    for (const unsigned vcpu : cell.vcpus) vcpus.add(vcpu);
    XmlElement& one = cells.add("cell").set("id", std::to_string(cell.guest_node));
    if (!vcpus.empty()) one.set("cpus", vcpus.to_string());
    one.set("memory", kib(cell.size)).set("unit", "KiB");
    if (cell.guest_node >= to.plan.placement.distances.size()) continue;
    XmlElement& distances = one.add("distances");
    const auto& row = to.plan.placement.distances[cell.guest_node];
    for (std::size_t i = 0; i < row.size(); ++i)
      distances.add("sibling").set("id", std::to_string(i)).set("value", std::to_string(row[i]));
  }
}

void board(Domain& to) {
  const BootSpec& boot = to.spec.boot;
  const std::string machine = to.arg("-machine");
  XmlElement& os = to.root.add("os");
  if (boot.uefi) os.set("firmware", "efi");
  os.add("type", "hvm").set("arch", "x86_64").set("machine", machine.substr(0, machine.find(',')));
  if (boot.uefi) {
    if (boot.secure_boot) os.add("loader").set("secure", "yes");
    to.row("boot.firmware", Verb::changed, "libvirt makes UEFI variables of its own, fresh ones");
  }
  if (!boot.firmware.empty()) os.add("loader", boot.firmware).set("type", "rom").set("readonly", "yes");
  if (!boot.kernel.empty()) os.add("kernel", boot.kernel);
  if (!boot.initrd.empty()) os.add("initrd", boot.initrd);
  if (!boot.cmdline.empty()) os.add("cmdline", boot.cmdline);
  XmlElement& features = to.root.add("features");
  features.add("acpi");
  features.add("apic");
  if (to.spec.cpu.pmu) features.add("pmu").set("state", *to.spec.cpu.pmu ? "on" : "off");
  features.add("vmport").set("state", "off");
  if (boot.secure_boot) features.add("smm").set("state", "on");
  to.hyperv(features);
}

void time_and_power(Domain& to) {
  const ClockSpec& clock = to.spec.clock;
  const bool local = clock.base.value_or(to.spec.windows ? RtcBase::localtime : RtcBase::utc) == RtcBase::localtime;
  XmlElement& element = to.root.add("clock").set("offset", local ? "localtime" : "utc");
  if (clock.drift_fix == DriftFix::slew) element.add("timer").set("name", "rtc").set("tickpolicy", "catchup");
  const std::string machine = to.arg("-machine");
  element.add("timer").set("name", "hpet").set("present", machine.find("hpet=on") != std::string::npos ? "yes" : "no");
  if (machine.find("pit=off") != std::string::npos) to.row("clock.pit", Verb::changed, "libvirt's board has a PIT");
  if (clock.kvmclock) element.add("timer").set("name", "kvmclock").set("present", *clock.kvmclock ? "yes" : "no");
  if (clock.frequency) element.add("timer").set("name", "tsc").set("frequency", std::to_string(*clock.frequency));
  if (to.spec.hyperv.asked.contains("time"))
    element.add("timer").set("name", "hypervclock").set("present", to.spec.hyperv.asked.at("time") ? "yes" : "no");
  to.root.add("on_poweroff", "destroy");
  to.root.add("on_reboot", "restart");
  to.root.add("on_crash", to.spec.panic == PanicAction::pause ? "preserve" : "destroy");
  XmlElement& pm = to.root.add("pm");
  for (const char* name : {"suspend-to-mem", "suspend-to-disk"})
    pm.add(name).set("enabled", to.spec.sleep ? "yes" : "no");
}

}  // namespace

std::string Domain::arg(std::string_view option) const {
  const auto found = std::ranges::find(plan.args, option, &Arg::option);
  return found == plan.args.end() ? std::string() : found->value;
}

std::string Domain::cpu_model() const {
  const std::string cpu = arg("-cpu");
  return cpu.substr(0, cpu.find(','));
}

bool Domain::shares_memory() const {
  return spec.memory.shared || std::ranges::any_of(plan.args, [](const Arg& arg) {
           return arg.option == "-object" && arg.value.find("memory-backend") != std::string::npos &&
                  arg.value.find("\"share\":true") != std::string::npos;
         });
}

void Domain::hyperv(XmlElement& features) {
  if (spec.hyperv.asked.empty() && !spec.windows && spec.hyperv.vendor_id.empty() && !spec.hyperv.spinlocks) return;
  static const std::set<std::string_view> known = {"relaxed", "vapic", "vpindex",     "runtime",         "synic",
                                                   "stimer",  "reset", "frequencies", "reenlightenment", "tlbflush",
                                                   "ipi",     "evmcs", "avic"};
  XmlElement& element = features.add("hyperv").set("mode", "custom");
  for (const HypervKnob& knob : hyperv_knobs()) {
    const auto asked = spec.hyperv.asked.find(knob.key);
    const bool on = asked != spec.hyperv.asked.end()
                        ? asked->second
                        : arg("-cpu").find(std::string(knob.feature) + "=on") != std::string::npos;
    if (!on && asked == spec.hyperv.asked.end()) continue;
    if (known.contains(knob.key))
      element.add(knob.key).set("state", on ? "on" : "off");
    else if (knob.key != std::string_view("time") && on)
      row(std::string("hyperv.") + knob.key, Verb::dropped, "libvirt 9 has no such element");
  }
  if (spec.hyperv.spinlocks || spec.windows)
    element.add("spinlocks")
        .set("state", "on")
        .set("retries", std::to_string(std::max(4095U, spec.hyperv.spinlocks.value_or(8191))));
  if (!spec.hyperv.vendor_id.empty()) element.add("vendor_id").set("state", "on").set("value", spec.hyperv.vendor_id);
}

Exported export_libvirt(const Spec& spec, const LaunchPlan& plan) {
  Domain to{spec, plan};
  to.root.name = "domain";
  to.root.set("type", plan.accel == "kvm" ? "kvm" : "qemu");
  to.root.add("name", plan.name);
  to.root.add("uuid", plan.uuid);
  memory(to);
  cpus(to);
  numa(to);
  board(to);
  cpu_model(to);
  time_and_power(to);
  to.devices(to.root.add("devices"));
  if (!spec.extra_args.empty()) {
    to.root.set("xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
    XmlElement& line = to.root.add("qemu:commandline");
    for (const std::string& one : spec.extra_args) line.add("qemu:arg").set("value", one);
  }
  return {write_xml(to.root), std::move(to.report)};
}

}  // namespace launcher::import
