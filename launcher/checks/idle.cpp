// The idle states that the CPUs in question may enter.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

using topology::CpuSet;

std::string per_cpu_path(const std::string& file) { return "/sys/devices/system/cpu/cpu*/" + file; }

std::uint64_t to_number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

struct DeepStates {
  std::string names;
  CpuSet cpus;
};

// The idle states deeper than C1 that the CPUs may enter. Names and latencies are the driver's, alike for CPUs of a kind.
DeepStates deep_states(const Audit& audit) {
  DeepStates deep;
  for (unsigned state = 1; state < 16; ++state) {
    const std::string dir = fmt::format("cpuidle/state{}/", state);
    std::uint64_t latency = 0;
    const auto latencies = audit.per_kind(dir + "latency");
    if (latencies.empty()) break;
    for (const auto& [value, cpus] : latencies) latency = std::max(latency, to_number(value));
    if (latency <= 2) continue;
    const auto& disabled = audit.per_cpu(dir + "disable");
    const auto on = disabled.find("0");
    if (on == disabled.end()) continue;
    const auto names = audit.per_kind(dir + "name");
    deep.names +=
        (deep.names.empty() ? "" : ", ") +
        fmt::format("{} ({} us)", names.empty() ? fmt::format("state{}", state) : names.begin()->first, latency);
    deep.cpus |= on->second;
  }
  if (deep.cpus.empty()) return deep;
  // a resume latency of "n/a" keeps the CPU out of all of them
  const auto& resume = audit.per_cpu("power/pm_qos_resume_latency_us");
  if (const auto none = resume.find("n/a"); none != resume.end()) deep.cpus -= none->second;
  return deep;
}

void c_states(const Audit& audit, Findings& findings) {
  const std::string path = per_cpu_path("cpuidle/state*/disable");
  if (audit.per_kind("cpuidle/state0/name").empty()) {
    if (audit.is_vm())
      findings.leave("no idle states here", {path}, "a virtual machine halts; the host below chooses the state");
    return;
  }
  if (audit.boot().has("idle", "poll")) {
    findings.ok("idle=poll: no idle state is entered", {"/proc/cmdline"});
    return;
  }
  const DeepStates deep = deep_states(audit);
  if (deep.cpus.empty()) {
    findings.ok("no state with a noticeable exit latency can be entered", {path});
    return;
  }
  findings
      .want(Level::advice, fmt::format("may enter {}", deep.names), {path, per_cpu_path("cpuidle/state*/latency")},
            "for the VM's CPUs only: states above a few us off, or cpu-pm=on in the VM",
            "for each of them: echo n/a > cpuN/power/pm_qos_resume_latency_us, or echo 1 > cpuN/cpuidle/stateM/disable",
            "vmrun's per-VM tuning, or tuned's latency-performance; C1E and C6 can also be disabled in the firmware")
      .subject = cpus_text(deep.cpus);
}

void idle_poll(const Audit& audit, Findings& findings) {
  if (!audit.boot().has("idle", "poll")) {
    if (!audit.is_vm())
      findings.leave(
          "idle=poll is not set", {"/proc/cmdline"},
          audit.smt() ? "with SMT a polling thread takes its sibling's throughput: per-CPU C-states or pm_qos instead"
                      : "per-CPU C-states or pm_qos do it for the VM's CPUs alone, without heating the others");
    return;
  }
  if (audit.smt())
    findings.want(Level::warning, "idle=poll with SMT: idle threads spin beside their siblings", {"/proc/cmdline"},
                  "no idle=poll; C-states off on the VM's CPUs alone", "at the next boot",
                  "take idle=poll off the kernel's command line");
  else
    findings.want(Level::advice, "idle=poll: every idle CPU spins", {"/proc/cmdline"},
                  "C-states off on the VM's CPUs alone", "at the next boot",
                  "take idle=poll off the kernel's command line");
}

}  // namespace

std::vector<Check> idle_checks() {
  return {
      {"c-states", "power", "001 3.2.4, 001 2.1 \"C1E, C6\", 003 \"CPU optimization script\"",
       "leaving a deep state takes longer than handling the interrupt", "VMs where wakeup latency counts",
       "power; fewer turbo bins for the other cores", c_states, concerns::pinned},
      {"idle-poll", "power", "001 3.2.4",
       "a spinning sibling takes execution slots and turbo from the thread that works", "pinned VMs",
       "some wakeup latency", idle_poll, concerns::every},
  };
}

}  // namespace launcher::checks
