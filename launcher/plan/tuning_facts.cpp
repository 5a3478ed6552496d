#include "launcher/plan/tuning_facts.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <sstream>

#include "topology/sysfs.hpp"

namespace launcher::inline plan {

using topology::CpuSet;
using topology::Sysfs;

namespace {

constexpr const char* all_cpus = "/sys/devices/system/cpu";

std::optional<unsigned> number_of(const std::string& text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

CpuSettings settings_of(unsigned cpu, const HostSpec& asked, const Sysfs& sysfs) {
  CpuSettings found;
  const std::string own = fmt::format("{}/cpu{}", all_cpus, cpu);
  if (asked.governor != Wish::no || asked.energy != Wish::no) {
    const std::string frequency = own + "/cpufreq/";
    found.governor = sysfs.read(frequency + "scaling_governor");
    found.governors = sysfs.read(frequency + "scaling_available_governors");
    found.energy = sysfs.read(frequency + "energy_performance_preference");
    found.energies = sysfs.read(frequency + "energy_performance_available_preferences");
    std::istringstream together(sysfs.read(frequency + "affected_cpus").value_or(""));
    for (unsigned other = 0; together >> other;) found.shared.add(other);
  }
  if (!asked.max_latency) return found;
  found.latency = sysfs.read(own + "/power/pm_qos_resume_latency_us");
  for (const std::string& state : sysfs.list(own + "/cpuidle")) {
    const std::string path = fmt::format("{}/cpuidle/{}", own, state);
    if (const auto latency = sysfs.read_number(path + "/latency"); latency && state.starts_with("state"))
      found.idle.push_back({path, static_cast<unsigned>(*latency), sysfs.read_number(path + "/disable") != 0u});
  }
  return found;
}

// Those that somebody handles; they have a directory named after it.
std::vector<DeviceInterrupt> device_interrupts(const Sysfs& sysfs) {
  std::vector<DeviceInterrupt> found;
  for (const std::string& name : sysfs.list("/proc/irq")) {
    const auto number = number_of(name);
    if (!number) continue;
    const std::string path = "/proc/irq/" + name + "/";
    std::string handler;
    for (const std::string& entry : sysfs.list(path))
      if (sysfs.is_directory(path + entry)) handler += (handler.empty() ? "" : " ") + entry;
    const auto cpus = CpuSet::parse(sysfs.read(path + "smp_affinity_list").value_or(""));
    if (!handler.empty() && cpus && !cpus->empty()) found.push_back({*number, handler, *cpus});
  }
  return found;
}

bool runs(std::string_view program, const Sysfs& sysfs) {
  for (const std::string& name : sysfs.list("/proc"))
    if (number_of(name) && sysfs.read("/proc/" + name + "/comm") == program) return true;
  return false;
}

}  // namespace

HostTuningFacts look_at_host_tuning(const HostSpec& asked) {
  HostTuningFacts facts;
  if (!asked.asks()) return facts;
  const Sysfs sysfs;
  const CpuSet online = CpuSet::parse(sysfs.read(std::string(all_cpus) + "/online").value_or("")).value_or(CpuSet{});
  if (asked.isolate != Wish::no) facts.isolation = look_at_isolation();
  for (const unsigned cpu : online.to_vector()) facts.cpus[cpu] = settings_of(cpu, asked, sysfs);
  if (asked.moves(asked.interrupts) != Wish::no) {
    facts.interrupts = device_interrupts(sysfs);
    facts.default_interrupt =
        CpuSet::parse_mask(sysfs.read("/proc/irq/default_smp_affinity").value_or("")).value_or(CpuSet{}) & online;
    facts.balanced = runs("irqbalance", sysfs);
  }
  if (asked.isolate != Wish::no || asked.moves(asked.workqueues) != Wish::no)
    facts.workqueues =
        CpuSet::parse_mask(sysfs.read("/sys/devices/virtual/workqueue/cpumask").value_or("")).value_or(CpuSet{}) &
        online;
  return facts;
}

HostTuningFacts assumed_host_tuning(const topology::HostTopology& host) {
  HostTuningFacts facts;
  facts.isolation = {"/sys/fs/cgroup",
                     "",
                     "",
                     true,
                     false,
                     true,
                     "",
                     {{"/sys/fs/cgroup/system.slice", ""}, {"/sys/fs/cgroup/user.slice", ""}},
                     {}};
  for (const topology::Pu& pu : host.pus) {
    CpuSettings& one = facts.cpus[pu.cpu];
    one.governor = "schedutil";
    one.governors = "conservative ondemand userspace powersave performance schedutil";
    one.energy = "balance_performance";
    one.energies = "default performance balance_performance balance_power power";
    one.latency = "0";
    one.shared = CpuSet{pu.cpu};
    facts.workqueues.add(pu.cpu);
    one.idle.push_back({fmt::format("{}/cpu{}/cpuidle/state1", all_cpus, pu.cpu), 2, false});
  }
  facts.default_interrupt = facts.workqueues;
  return facts;
}

}  // namespace launcher::plan
