// The host's time: what guests' clocks are made from.
#include <fmt/format.h>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

void clocksource(const Audit& audit, Findings& findings) {
  const std::string dir = "/sys/devices/system/clocksource/clocksource0/", path = dir + "current_clocksource";
  const auto current = audit.text(path);
  if (!current) return;
  if (*current == "tsc") {
    findings.ok("tsc", {path});
    return;
  }
  if (audit.is_vm() && (*current == "kvm-clock" || current->starts_with("hyperv"))) {
    findings.leave(*current, {path},
                   "in a virtual machine the hypervisor's clock is right unless its TSC is invariant");
    return;
  }
  const bool possible =
      (" " + audit.text(dir + "available_clocksource").value_or("") + " ").find(" tsc ") != std::string::npos;
  findings.want(Level::warning, fmt::format("{}: the kernel does not trust the TSC", *current),
                {path, dir + "available_clocksource"}, "tsc",
                possible ? write_now("tsc", path)
                         : "find the reason in the kernel's log (\"clocksource: tsc unstable\"), often the firmware",
                possible ? boot_lasting("clocksource=tsc")
                         : "tsc=reliable on the kernel's command line only where the TSC is known to be good");
}

void tsc(const Audit& audit, Findings& findings) {
  const auto word = audit.boot().value("tsc");
  if (audit.boot().has("notsc") || word == "unstable") {
    findings.want(Level::warning, "the kernel's command line gives up the TSC", {"/proc/cmdline"},
                  "neither notsc nor tsc=unstable", "at the next boot", "take it off the kernel's command line");
    return;
  }
  const bool constant = audit.flag("constant_tsc"), always = audit.flag("nonstop_tsc");
  if (constant && always)
    findings.ok("constant_tsc, nonstop_tsc", {"/proc/cpuinfo"});
  else if (audit.flag("tsc"))
    findings.want(Level::warning, fmt::format("no {} among the CPU's flags", constant ? "nonstop_tsc" : "constant_tsc"),
                  {"/proc/cpuinfo"}, "an invariant TSC, which guests can then read without an exit",
                  audit.is_vm() ? "on the host below: this machine's CPU model with +invtsc" : "not on this CPU");
}

}  // namespace

std::vector<Check> clock_checks() {
  return {
      {"clocksource", "clock", "003 \"TSC Virtualization\"",
       "guests' kvm-clock and TSC are then scaled from a clock that is slow to read",
       "every VM; most where time is read often", "none", clocksource, concerns::every},
      {"tsc", "clock", "003 \"CPU optimization script\"",
       "a guest's clock source tsc needs one that never stops and never changes its rate",
       "VMs that read the time often", "none", tsc, concerns::every},
  };
}

}  // namespace launcher::checks
