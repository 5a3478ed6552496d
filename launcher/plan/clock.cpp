// The guest's clocks: TSC, kvm-clock, RTC, and the Hyper-V interfaces (which are clocks and timers for the most part). The
// rule: a stable TSC is promised only where this host's TSC never stops.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

void add_invtsc(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why) {
  const OrAuto<bool>& asked = draft.spec.clock.invtsc;
  const bool can = draft.kvm() && draft.facts.cpu.stable_tsc;
  if (asked == true && !draft.kvm())
    draft.problem("clock.invtsc", "true, but this VM is emulated (TCG), and so is its TSC; wanted KVM",
                  "remove it, or set accel = \"kvm\"");
  else if (asked == true && !can)
    draft.problem("clock.invtsc",
                  "true, but this host's TSC stops or changes its rate; wanted constant_tsc and nonstop_tsc in "
                  "/proc/cpuinfo",
                  "remove it: the guest then uses kvm-clock, which knows of such changes");
  if (asked == false) draft.plan.features.push_back({"invtsc", false});
  if (!can || !asked.value_or(model == "host" && !draft.facts.kvm_module.empty())) return;
  if (model == "host" || model == "max") cpu.set("migratable", false);  // else QEMU leaves it out of these models
  cpu.set("invtsc", true);
  if (asked) draft.plan.features.push_back({"invtsc", true});
  why.emplace_back("a TSC that never stops (a Linux guest then takes it as its clock)");
}

void add_frequency(Draft& draft, Opts& cpu) {
  const OrAuto<std::uint64_t>& frequency = draft.spec.clock.frequency;
  if (!frequency) return;
  if (!draft.kvm() || !draft.facts.cpu.tsc_scaling)
    draft.problem("clock.tsc_frequency",
                  draft.kvm() ? "this host's KVM cannot scale the TSC, so a guest has the host's frequency"
                              : "this VM is emulated (TCG), and its TSC has no set frequency",
                  "remove it");
  else
    cpu.set("tsc-frequency", *frequency);
}

void add_kvmclock(Draft& draft, Opts& cpu) {
  const OrAuto<bool>& asked = draft.spec.clock.kvmclock;
  if (!asked) return;
  if (*asked && !draft.kvm())
    draft.problem("clock.kvmclock", "true, but this VM is emulated (TCG); wanted KVM",
                  "remove it, or set accel = \"kvm\"");
  if (!draft.kvm()) return;
  cpu.set("kvmclock", *asked);
  draft.plan.features.push_back({"kvmclock", *asked});
  if (!*asked && !draft.facts.cpu.stable_tsc)
    draft.note(
        "clock.kvmclock: without it and without a stable TSC a Linux guest reads the ACPI timer, and leaves the guest "
        "each time");
}

}  // namespace

void add_tsc(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why) {
  add_invtsc(draft, cpu, model, why);
  add_frequency(draft, cpu);
  add_kvmclock(draft, cpu);
}

namespace {

// Nested Hyper-V's shared VMCS is Intel's, and only of use to a guest that has VMX.
bool has_vmx(const Draft& draft) {
  const auto in = [](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), "vmx") != list.end();
  };
  const CpuSpec& cpu = draft.spec.cpu;
  const auto vapic = draft.spec.hyperv.asked.find("vapic");
  if (vapic != draft.spec.hyperv.asked.end() && !vapic->second) return false;
  return !draft.host.is_amd() && (cpu.nested == true || in(cpu.add) || in(cpu.require));
}

// "" if this knob is to be given; else why not.
std::string why_no_knob(const Draft& draft, const HypervKnob& knob) {
  const std::string_view key = knob.key;
  if (!draft.kvm()) return "it is a service of KVM, and this VM is emulated (TCG)";
  if (!draft.qemu.cpu_off.empty() && !draft.qemu.cpu_off.contains(knob.feature) &&
      !draft.qemu.cpu_on.contains(knob.feature))
    return fmt::format("QEMU {} does not have it", draft.qemu.version);
  if (key == "evmcs" && !has_vmx(draft)) return "it is for guests on Intel CPUs with cpu.nested = true";
  return "";
}

}  // namespace

void add_hyperv(Draft& draft, Opts& cpu, std::vector<std::string>& why) {
  const HypervSpec& hyperv = draft.spec.hyperv;
  std::vector<std::string> given;
  for (const HypervKnob& knob : hyperv_knobs()) {
    const auto asked = hyperv.asked.find(knob.key);
    if (asked == hyperv.asked.end() ? !(draft.spec.windows && knob.of_windows) : !asked->second) continue;
    const std::string no = why_no_knob(draft, knob);
    if (no.empty()) {
      cpu.set(knob.feature, true);
      given.emplace_back(knob.key);
      draft.plan.features.push_back({knob.feature, true});
    } else if (asked != hyperv.asked.end()) {
      draft.problem(fmt::format("hyperv.{}", knob.key), "true, but " + no, "remove it");
    }
  }
  constexpr unsigned retries = 0x1fff;  // Microsoft's recommendation, also QEMU's in docs/system/i386/hyperv
  if (draft.kvm() && (hyperv.spinlocks || draft.spec.windows)) {
    cpu.set("hv-spinlocks", fmt::format("{:#x}", hyperv.spinlocks.value_or(retries)));
    given.emplace_back("spinlocks");
  } else if (hyperv.spinlocks) {
    draft.problem("hyperv.spinlocks", "is a service of KVM, and this VM is emulated (TCG)", "remove it");
  }
  if (!hyperv.vendor_id.empty() && given.empty())
    draft.problem("hyperv.vendor_id", "given without any of Hyper-V's interfaces, which alone tell it; wanted some",
                  draft.kvm() ? "set windows = true, or hyperv.relaxed = true" : "remove it: they are services of KVM");
  else if (!hyperv.vendor_id.empty())
    cpu.set("hv-vendor-id", hyperv.vendor_id);
  if (!given.empty()) why.push_back(fmt::format("Hyper-V interfaces: {}", fmt::join(given, " ")));
  if (draft.spec.windows && !draft.kvm())
    draft.note("windows: no Hyper-V interfaces under TCG; only the clock is set up for Windows");
}

void add_rtc(Draft& draft) {
  const ClockSpec& clock = draft.spec.clock;
  if (!clock.base && !clock.drift_fix && !draft.spec.windows) return;
  const bool local = clock.base.value_or(draft.spec.windows ? RtcBase::localtime : RtcBase::utc) == RtcBase::localtime;
  const auto time = draft.spec.hyperv.asked.find("stimer");
  const bool has_timers = draft.kvm() && (time == draft.spec.hyperv.asked.end() ? draft.spec.windows : time->second);
  // a Windows guest without synthetic timers counts RTC interrupts: those it missed are made up for
  const bool slew =
      clock.drift_fix.value_or(draft.spec.windows && !has_timers ? DriftFix::slew : DriftFix::none) == DriftFix::slew;
  Opts rtc;
  rtc.set("base", local ? "localtime" : "utc");
  if (slew || clock.drift_fix) rtc.set("driftfix", slew ? "slew" : "none");
  draft.args.add("-rtc", rtc,
                 fmt::format("the RTC shows {}{}", local ? "local time, as Windows takes it" : "UTC",
                             slew ? "; interrupts that came too late are made up for" : ""),
                 clock.base        ? "spec clock.base"
                 : clock.drift_fix ? "spec clock.drift_fix"
                                   : "spec windows");
}

// "pit", "hpet": on the board or not.
void set_timer(Draft& draft, Opts& machine, const char* name, const OrAuto<bool>& asked, OrAuto<bool> otherwise) {
  const bool known = draft.qemu.has(std::string("machine.") + name);
  if (asked && !known)
    draft.problem(std::string("clock.") + name,
                  fmt::format("QEMU {} has no switch for the {}", draft.qemu.version, name), "remove it");
  if (!known) return;
  if (asked)
    machine.set(name, *asked);
  else if (otherwise)
    machine.set(name, *otherwise);
}

}  // namespace launcher::parts
