// What the firmware has decided, as far as the system sees it; the rest is a list for whoever sits before its setup.
#include <fmt/format.h>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

void bare_metal(const Audit& audit, Findings& findings) {
  if (!audit.is_vm())
    findings.ok("this is no virtual machine", {"/proc/cpuinfo"});
  else
    findings.want(Level::advice, "this is itself a virtual machine", {"/proc/cpuinfo"},
                  "bare metal, for figures that mean something", "not here");
}

void firmware_list(const Audit& audit, Findings& findings) {
  if (audit.is_vm()) {
    findings.leave("nothing to set in a virtual machine's firmware", {"/proc/cpuinfo"},
                   "guide 001's table is for the host below");
    return;
  }
  std::string hidden = "C1E and C1 auto-promotion/demotion, memory speed and channels in use, sub-NUMA clustering";
  if (audit.intel() && !audit.exists("/sys/devices/system/cpu/intel_pstate/energy_efficiency"))
    hidden += ", Energy Efficient Turbo = Disabled";
  if (audit.amd()) hidden += ", NPS and \"L3 as NUMA domain\", determinism slider, DF C-states";
  if (audit.per_kind("power/energy_perf_bias").empty() && audit.intel())
    hidden += ", CPU Power and Performance Policy = Performance";
  findings.want(Level::advice, "the system cannot see: " + hidden, {"/sys/devices/system/cpu"},
                "a look: performance policy, C1E and C6 disabled where latency counts, all memory channels filled",
                firmware_now("the items named"),
                "the rest of guide 001's table has checks: virtualization, iommu, smt, numa-nodes, energy-perf-bias, "
                "cpufreq-driver, turbo, energy-efficient-turbo, c-states");
}

}  // namespace

std::vector<Check> firmware_checks() {
  return {
      {"bare-metal", "firmware", "003 \"Common Measurement Mistakes\"",
       "every exit of a nested guest is several of the host below", "every VM; benchmarks", "another machine",
       bare_metal, concerns::every},
      {"firmware-list", "firmware", "001 2.1", "these decide on frequency and latency before the kernel does",
       "every VM", "power and heat; a reboot", firmware_list, concerns::every},
  };
}

}  // namespace launcher::checks
