// The frequency of the CPUs in question.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

using topology::CpuSet;

const std::string cpu_dir = "/sys/devices/system/cpu/";

std::string per_cpu_path(const std::string& file) { return cpu_dir + "cpu*/" + file; }

double ghz(std::uint64_t khz) { return static_cast<double>(khz) / 1e6; }

std::uint64_t to_number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

std::string driver_of(const Audit& audit) {
  const auto drivers = audit.per_kind("cpufreq/scaling_driver");
  return drivers.empty() ? "" : drivers.begin()->first;
}

// Who else sets it: changing it beside them does not last.
std::string owner_of_power(const Audit& audit) {
  if (audit.service_runs("tuned"))
    return "tuned runs and owns it: `tuned-adm profile virtual-host` (or latency-performance)";
  if (audit.service_runs("power-profiles-daemon"))
    return "power-profiles-daemon runs and owns it: `powerprofilesctl set performance`";
  return "";
}

std::string lasting_power(const Audit& audit, const std::string& value, const std::string& path) {
  const std::string owner = owner_of_power(audit);
  return owner.empty() ? write_lasting(value, path) : owner;
}

void governor(const Audit& audit, Findings& findings) {
  const std::string file = "cpufreq/scaling_governor", path = per_cpu_path(file);
  const auto& groups = audit.per_cpu(file);
  if (groups.empty()) {
    findings.leave("no cpufreq: the kernel does not choose frequencies here", {path},
                   audit.is_vm() ? "the host below decides"
                                 : "the firmware decides (or intel_pstate=disable without another driver)");
    return;
  }
  const std::string driver = driver_of(audit);
  const bool itself = driver == "intel_pstate" || driver == "amd-pstate-epp";  // its powersave is no lowest frequency
  for (const auto& [value, cpus] : groups) {
    if (value == "performance") {
      findings.ok("performance", {path}).subject = cpus_text(cpus);
      continue;
    }
    const bool slow = value == "powersave" && !itself;
    Finding& finding =
        findings.want(slow ? Level::warning : Level::advice,
                      fmt::format("{} (driver {})", value, driver.empty() ? "unknown" : driver), {path}, "performance",
                      write_now("performance", path), lasting_power(audit, "performance", path));
    finding.subject = cpus_text(cpus);
    if (value == "powersave" && itself)
      finding.why = fmt::format(
          "under {} powersave does scale with the load (it is not the lowest frequency), but rises late", driver);
  }
}

void epp(const Audit& audit, Findings& findings) {
  const std::string file = "cpufreq/energy_performance_preference", path = per_cpu_path(file);
  for (const auto& [value, cpus] : audit.per_cpu(file)) {
    if (value == "performance" || value == "0")
      findings.ok(value, {path}).subject = cpus_text(cpus);
    else
      findings
          .want(value == "power" ? Level::warning : Level::advice, value, {path}, "performance",
                write_now("performance", path), lasting_power(audit, "performance", path))
          .subject = cpus_text(cpus);
  }
}

void energy_perf_bias(const Audit& audit, Findings& findings) {
  const std::string file = "power/energy_perf_bias", path = per_cpu_path(file);
  for (const auto& [value, cpus] : audit.per_cpu(file)) {
    const std::uint64_t bias = to_number(value);
    if (bias <= 4)
      findings.ok(fmt::format("{} (0 performance ... 15 power saving)", value), {path}).subject = cpus_text(cpus);
    else
      findings
          .want(bias > 8 ? Level::warning : Level::advice, fmt::format("{} (0 performance ... 15 power saving)", value),
                {path}, "0", write_now("0", path),
                "\"CPU Power and Performance Policy\" = Performance in the firmware's setup")
          .subject = cpus_text(cpus);
  }
}

void cpufreq_driver(const Audit& audit, Findings& findings) {
  const std::string driver = driver_of(audit), path = per_cpu_path("cpufreq/scaling_driver");
  const bool disabled = audit.boot().has("intel_pstate", "disable");
  const bool partitioning =
      audit.text("/etc/tuned/active_profile").value_or("").find("cpu-partitioning") != std::string::npos;
  if (disabled) {
    Finding& finding =
        findings.want(Level::warning, "intel_pstate=disable on the kernel's command line", {"/proc/cmdline"},
                      "intel_pstate in active mode, so that the hardware's own P-states work", "at the next boot",
                      "take intel_pstate=disable off the kernel's command line");
    if (partitioning) {
      finding.why =
          "tuned's cpu-partitioning profile puts it there; it takes away the driver whose governor guides 000 and 001 "
          "set";
      finding.lasting =
          "a profile of your own: include=cpu-partitioning, [bootloader] cmdline_cpu_part without intel_pstate=disable";
    }
    return;
  }
  if (driver.empty()) return;
  if (driver == "acpi-cpufreq" && audit.flag("hwp"))
    findings.want(Level::advice, "acpi-cpufreq drives CPUs that have hardware P-states", {path, "/proc/cpuinfo"},
                  "intel_pstate", firmware_now("\"Hardware P-States\" = Native Mode"),
                  boot_lasting("intel_pstate=active"));
  else if (driver == "acpi-cpufreq" && audit.flag("cppc"))
    findings.want(Level::advice, "acpi-cpufreq drives CPUs that have CPPC", {path, "/proc/cpuinfo"},
                  "amd-pstate in active mode", "at the next boot (and CPPC = Enabled in the firmware's setup)",
                  boot_lasting("amd_pstate=active"));
  else if (audit.text("/sys/devices/system/cpu/intel_pstate/status") == "passive")
    findings.want(Level::advice, "intel_pstate is in passive mode: the kernel picks each frequency",
                  {"/sys/devices/system/cpu/intel_pstate/status"}, "active",
                  write_now("active", "/sys/devices/system/cpu/intel_pstate/status"),
                  boot_lasting("intel_pstate=active"));
  else
    findings.ok(driver, {path});
}

void turbo(const Audit& audit, Findings& findings) {
  const std::string no_turbo = cpu_dir + "intel_pstate/no_turbo", boost = cpu_dir + "cpufreq/boost";
  const auto off = audit.number(no_turbo), on = audit.number(boost);
  if (!off && !on) return;
  const std::string path = off ? no_turbo : boost;
  if (off ? *off == 0 : *on == 1)
    findings.ok("frequencies above the nominal one are used", {path});
  else
    findings.want(Level::advice, "turbo is off", {path}, "on, except where every run must have the same frequency",
                  write_now(off ? "0" : "1", path),
                  audit.text(no_turbo) == "1"
                      ? "\"Intel Turbo Boost Technology\" = Enabled in the firmware's setup if the write is refused"
                      : write_lasting("1", path));
}

void energy_efficient_turbo(const Audit& audit, Findings& findings) {
  const std::string path = cpu_dir + "intel_pstate/energy_efficiency";
  const auto on = audit.number(path);
  if (!on) return;
  if (*on == 0)
    findings.ok("off", {path});
  else
    findings.want(Level::advice, "on: turbo is held back when the CPU thinks that it gains little", {path}, "off",
                  write_now("0", path), "\"Energy Efficient Turbo\" = Disabled in the firmware's setup");
}

// Ceilings: scaling_max_freq below what the CPU can.
void frequency_limit(const Audit& audit, Findings& findings) {
  const auto& most = audit.per_cpu("cpufreq/cpuinfo_max_freq");
  CpuSet capped;
  std::uint64_t limit = 0, possible = 0;
  for (const auto& [value, cpus] : audit.per_cpu("cpufreq/scaling_max_freq"))
    for (const auto& [max, of] : most)
      if (to_number(value) < to_number(max) && of.intersects(cpus)) {
        capped |= of & cpus;
        limit = to_number(value);
        possible = to_number(max);
      }
  const std::string path = per_cpu_path("cpufreq/scaling_max_freq");
  if (most.empty()) return;
  if (capped.empty())
    findings.ok("no CPU is held below its highest frequency", {path});
  else
    findings
        .want(Level::warning, fmt::format("held to {:.2f} GHz of {:.2f}", ghz(limit), ghz(possible)), {path},
              "cpuinfo_max_freq", write_now(std::to_string(possible), path), owner_of_power(audit))
        .subject = cpus_text(capped);
}

// Guide 000: does the frequency really rise when the guest needs it? Tried on one free CPU of each kind.
void frequency_under_load(const Audit& audit, Findings& findings) {
  if (!audit.measure) return;
  std::set<unsigned> tried;
  for (const unsigned cpu : (audit.cpus() - audit.others - audit.isolated()).to_vector()) {
    const topology::Pu* pu = audit.host().pu(cpu);
    if (pu == nullptr || !tried.insert(pu->kind).second) continue;
    const auto mhz = audit.measure(cpu);
    if (!mhz) continue;
    const auto khz = [&](const char* file) {
      return audit.number(fmt::format("{}cpu{}/cpufreq/{}", cpu_dir, cpu, file)).value_or(0);
    };
    const std::uint64_t base = khz("base_frequency"), most = khz("cpuinfo_max_freq");
    const double wanted = base != 0 ? static_cast<double>(base) / 1000 : static_cast<double>(most) / 1000 * 0.5;
    const Findings::Paths paths = {"measured: dependent additions on this CPU",
                                   fmt::format("{}cpu{}/cpufreq/base_frequency", cpu_dir, cpu)};
    const std::string figure = fmt::format("{:.2f} GHz under load{}", *mhz / 1000,
                                           base != 0 ? fmt::format(", {:.2f} nominal", ghz(base)) : "");
    if (*mhz < wanted * 0.95)
      findings
          .want(Level::warning, figure, paths, fmt::format("{:.2f} GHz or more", wanted / 1000),
                "look at `governor`, `frequency-limit`, the power limit and the cooling")
          .subject = cpus_text({cpu});
    else
      findings.ok(figure, paths).subject = cpus_text({cpu});
  }
}

}  // namespace

std::vector<Check> power_checks() {
  return {
      {"governor", "power", "000 \"Frequency Scaling\", 001 3.2.2, 003 \"CPU optimization script\"",
       "a governor that follows the load answers a vCPU's burst late", "pinned VMs; benchmarks", "power and heat",
       governor, concerns::every},
      {"energy-preference", "power", "001 2.1 \"Power and Performance Policy\"",
       "hardware P-states follow this hint, not the governor", "pinned VMs; benchmarks", "power and heat", epp,
       concerns::every},
      {"energy-perf-bias", "power", "001 2.1 \"Power and Performance Policy\"",
       "the firmware's policy, as the kernel can see and set it", "pinned VMs; benchmarks", "power and heat",
       energy_perf_bias, concerns::every},
      {"cpufreq-driver", "power", "000 \"Frequency Scaling\", 001 2.1 \"SpeedStep, Hardware P States\"",
       "the CPU's own driver knows turbo and hardware P-states", "every VM", "a reboot", cpufreq_driver,
       concerns::every},
      {"turbo", "power", "001 2.1 \"Turbo Boost\", 000", "without it the CPUs stay at their nominal frequency",
       "every VM", "frequencies that depend on the neighbours' load", turbo, concerns::every},
      {"energy-efficient-turbo", "power", "001 2.1 \"Energy Efficient Turbo\"",
       "memory-bound phases lower the frequency of the next ones", "VMs where latency counts", "power",
       energy_efficient_turbo, concerns::every},
      {"frequency-limit", "power", "001 3.2.2", "performance means the highest frequency within these borders",
       "every VM", "power and heat", frequency_limit, concerns::every},
      {"frequency-under-load", "power", "000 \"Frequency Scaling\"", "settings are promises; this is what the CPU does",
       "every VM", "", frequency_under_load, concerns::every},
  };
}

}  // namespace launcher::checks
