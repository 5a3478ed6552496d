// What the plan's board is, and its clocks, as libvirt's.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

void kvm(const Domain& to, XmlElement& features) {
  XmlElement element;
  element.name = "kvm";
  for (const auto& [property, name] :
       {std::pair("kvm-hint-dedicated", "hint-dedicated"), std::pair("kvm-poll-control", "poll-control")})
    for (const char* state : {"on", "off"})
      if (to.cpu_has(fmt::format("{}={}", property, state))) element.add(name).set("state", state);
  if (!element.children.empty()) features.children.push_back(std::move(element));
}

}  // namespace

void export_board(Domain& to) {
  const BootSpec& boot = to.spec.boot;
  const std::string machine = to.arg("-machine");
  XmlElement& os = to.root.add("os");
  const bool by_hand = !boot.code.empty();
  if (boot.uefi && !by_hand) os.set("firmware", "efi");
  os.add("type", "hvm").set("arch", "x86_64").set("machine", machine.substr(0, machine.find(',')));
  if (boot.uefi) {
    if (by_hand) {
      XmlElement& loader = os.add("loader", boot.code).set("readonly", "yes").set("type", "pflash");
      if (boot.secure_boot) loader.set("secure", "yes");
      os.add("nvram").set("template", boot.variables);
    } else if (boot.secure_boot) {
      os.add("loader").set("secure", "yes");
    }
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
  kvm(to, features);
  if (boot.secure_boot) features.add("smm").set("state", "on");
  to.hyperv(features);
}

void export_time_and_power(Domain& to) {
  const ClockSpec& clock = to.spec.clock;
  const bool local = clock.base.value_or(to.spec.windows ? RtcBase::localtime : RtcBase::utc) == RtcBase::localtime;
  XmlElement& element = to.root.add("clock").set("offset", local ? "localtime" : "utc");
  if (clock.drift_fix == DriftFix::none) element.add("timer").set("name", "rtc").set("tickpolicy", "delay");
  if (clock.drift_fix == DriftFix::slew) element.add("timer").set("name", "rtc").set("tickpolicy", "catchup");
  const std::string machine = to.arg("-machine");
  element.add("timer").set("name", "hpet").set("present", machine.find("hpet=on") != std::string::npos ? "yes" : "no");
  if (clock.pit == true) element.add("timer").set("name", "pit").set("tickpolicy", "delay");
  if (machine.find("pit=off") != std::string::npos) to.row("clock.pit", Verb::changed, "libvirt's board has a PIT");
  if (clock.kvmclock) element.add("timer").set("name", "kvmclock").set("present", *clock.kvmclock ? "yes" : "no");
  if (clock.frequency) element.add("timer").set("name", "tsc").set("frequency", std::to_string(*clock.frequency));
  const auto asked = to.spec.hyperv.asked.find("time");
  if (const bool on = to.cpu_has("hv-time=on"); on || asked != to.spec.hyperv.asked.end())
    element.add("timer").set("name", "hypervclock").set("present", on ? "yes" : "no");
  to.root.add("on_poweroff", "destroy");
  to.root.add("on_reboot", "restart");
  to.root.add("on_crash", to.spec.panic == PanicAction::pause ? "preserve" : "destroy");
  XmlElement& pm = to.root.add("pm");
  for (const char* name : {"suspend-to-mem", "suspend-to-disk"})
    pm.add(name).set("enabled", to.spec.sleep ? "yes" : "no");
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
    const std::string_view key = knob.key;
    if (known.contains(key))
      element.add(knob.key).set("state", on ? "on" : "off");
    else if (key == "stimer_direct" && !element.children.empty() && element.children.back().name == "stimer")
      element.children.back().add("direct").set("state", on ? "on" : "off");
    else if (key != "time" && on)
      row(std::string("hyperv.") + knob.key, Verb::dropped, "libvirt 9 has no such element");
  }
  if (spec.hyperv.spinlocks || spec.windows)
    element.add("spinlocks")
        .set("state", "on")
        .set("retries", std::to_string(std::max(4095U, spec.hyperv.spinlocks.value_or(8191))));
  if (!spec.hyperv.vendor_id.empty()) element.add("vendor_id").set("state", "on").set("value", spec.hyperv.vendor_id);
}

}  // namespace launcher::import
