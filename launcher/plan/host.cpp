// The rest of [host]: clocks and sleep of the VM's own CPUs, and what else of the host would interrupt them. The rule: what
// is set for other CPUs, too, is not touched.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

using topology::CpuSet;

namespace {

std::string file_of(unsigned cpu, const char* name) {
  return fmt::format("/sys/devices/system/cpu/cpu{}/{}", cpu, name);
}

CpuSettings settings(const Draft& draft, unsigned cpu) {
  const auto found = draft.facts.tuning.cpus.find(cpu);
  return found == draft.facts.tuning.cpus.end() ? CpuSettings{} : found->second;
}

bool offers(const std::optional<std::string>& choices, std::string_view word) {
  return choices && (" " + *choices + " ").find(fmt::format(" {} ", word)) != std::string::npos;
}

// cpufreq: one of two files, each with its list of choices.
struct Frequency {
  const char* key;
  const char* file;
  Wish wish;
  std::optional<std::string> CpuSettings::*now;
  std::optional<std::string> CpuSettings::*choices;
  const char* why;
};

void add_frequency(Draft& draft, const Frequency& asked, std::vector<PlannedStep>& steps) {
  if (asked.wish == Wish::no) return;
  const CpuSet& ours = draft.plan.placement.exclusive;
  CpuSet without, shared;
  std::vector<PlannedStep> wanted;
  for (const unsigned cpu : ours.to_vector()) {
    const CpuSettings now = settings(draft, cpu);
    if (!(now.*asked.now) || !offers(now.*asked.choices, "performance"))
      without.add(cpu);
    else if (!ours.contains(now.shared))
      shared |= now.shared - ours;
    else if (*(now.*asked.now) != "performance" &&
             cpu == (now.shared | CpuSet{cpu}).first())  // once for all that share it
      wanted.push_back({ChangeFile{file_of(cpu, asked.file), Value{*(now.*asked.now), "performance"}}, asked.why,
                        std::string("spec ") + asked.key});
  }
  if (!without.empty())
    return refuse(draft, asked.wish, asked.key,
                  fmt::format("CPUs {} have no cpufreq/{} with \"performance\": {}", without.to_string(),
                              std::string_view(asked.file).substr(8),
                              "the machine's firmware, or what this host itself runs on, sets their clock"));
  if (!shared.empty())
    return refuse(draft, asked.wish, asked.key,
                  fmt::format("it would be set for CPUs {} as well, which are not this VM's", shared.to_string()));
  for (PlannedStep& step : wanted) steps.push_back(std::move(step));
}

// Where the kernel takes a limit for each CPU it is told; else what would take longer to leave is forbidden.
void add_latency(Draft& draft, std::vector<PlannedStep>& steps) {
  if (!draft.spec.host.max_latency) return;
  const unsigned most = *draft.spec.host.max_latency;
  const std::string wanted = most == 0 ? "n/a" : std::to_string(most);  // the kernel's own word for no sleep at all
  const char* why = "no C-state that takes longer to wake up from";
  const std::string origin = "spec host.max_latency_us";
  bool sleeps = false;
  for (const unsigned cpu : draft.plan.placement.exclusive.to_vector()) {
    const CpuSettings now = settings(draft, cpu);
    sleeps |= !now.idle.empty();
    if (now.latency && *now.latency != wanted)
      steps.push_back(
          {ChangeFile{file_of(cpu, "power/pm_qos_resume_latency_us"), Value{*now.latency, wanted}}, why, origin});
    if (now.latency) continue;
    for (const IdleState& state : now.idle)
      if (state.latency > most && !state.disabled)
        steps.push_back({ChangeFile{state.path + "/disable", Value{"0", "1"}}, why, origin});
  }
  if (!sleeps)
    draft.note("host.max_latency_us: this host's kernel knows no C-states (no cpuidle driver), so none is too long");
}

void add_interrupts(Draft& draft, std::vector<PlannedStep>& steps) {
  const Wish wish = draft.spec.host.moves(draft.spec.host.interrupts);
  if (wish == Wish::no) return;
  const HostTuningFacts& facts = draft.facts.tuning;
  const CpuSet &ours = draft.plan.placement.exclusive, &others = draft.plan.placement.emulator;
  const std::string origin = wish == Wish::yes ? "spec host.interrupts" : "spec host.isolate";
  std::vector<std::string> moved;
  const auto add = [&](const std::string& path, const CpuSet& now, const std::string& why) {
    const Cpus change = mask_change(now, ours, others);
    if (!change.remove.empty()) steps.push_back({ChangeFile{path, change}, why, origin});
    return !change.remove.empty();
  };
  add("/proc/irq/default_smp_affinity", facts.default_interrupt, "where interrupts go that are first used later");
  for (const DeviceInterrupt& one : facts.interrupts)
    if (add(fmt::format("/proc/irq/{}/smp_affinity_list", one.number), one.cpus, one.name + " goes to other CPUs"))
      moved.push_back(fmt::format("{} {}", one.number, one.name));
  if (facts.balanced)
    draft.note(
        fmt::format("host.interrupts: irqbalance runs and may move them back; give it IRQBALANCE_BANNED_CPULIST={}; "
                    "moved: {}",
                    ours.to_string(), moved.empty() ? "none" : fmt::format("{}", fmt::join(moved, ", "))));
}

void add_workqueues(Draft& draft, std::vector<PlannedStep>& steps) {
  const HostSpec& asked = draft.spec.host;
  Wish wish = asked.moves(asked.workqueues);
  // The partition takes its CPUs out of that mask by itself, and only what is really in it may be put back.
  if (wish == Wish::no && draft.isolation == Isolation::within) {
    draft.note("host.workqueues: moved all the same, which this kernel does for every isolated partition");
    wish = Wish::maybe;
  }
  if (wish == Wish::no) return;
  if (draft.facts.tuning.workqueues.empty())
    return refuse(draft, wish, "host.workqueues", "this kernel has no mask for unbound workqueues");
  const Cpus change =
      mask_change(draft.facts.tuning.workqueues, draft.plan.placement.exclusive, draft.plan.placement.emulator);
  if (change.remove.empty()) return;
  steps.push_back({ChangeFile{"/sys/devices/virtual/workqueue/cpumask", change},
                   "the kernel's unbound work goes to other CPUs",
                   wish == Wish::yes ? "spec host.workqueues" : "spec host.isolate"});
}

// What keeps all of it from being done; the keys that ask for it are told.
bool may_tune(Draft& draft) {
  const HostSpec& asked = draft.spec.host;
  std::string why;
  if (!draft.facts.root)
    why = "that needs root";
  else if (draft.plan.placement.exclusive.empty() || !draft.plan.pinned)
    why = "this VM has no CPUs of its own; wanted cpu.pin = \"auto\", or a list";
  else
    return true;
  refuse(draft, asked.governor, "host.governor", why);
  refuse(draft, asked.energy, "host.energy", why);
  refuse(draft, asked.max_latency ? Wish::yes : Wish::no, "host.max_latency_us", why);
  refuse(draft, asked.interrupts == true ? Wish::yes : Wish::no, "host.interrupts", why);
  refuse(draft, asked.workqueues == true ? Wish::yes : Wish::no, "host.workqueues", why);
  return false;
}

}  // namespace

void add_host_tuning(Draft& draft, std::vector<PlannedStep>& steps) {
  const HostSpec& asked = draft.spec.host;
  if (!asked.asks() || !may_tune(draft)) return;
  // energy first: intel_pstate takes none but its own with the governor "performance"
  add_frequency(draft,
                {"host.energy", "cpufreq/energy_performance_preference", asked.energy, &CpuSettings::energy,
                 &CpuSettings::energies, "the CPU's own choice of its clock leans to speed"},
                steps);
  add_frequency(draft,
                {"host.governor", "cpufreq/scaling_governor", asked.governor, &CpuSettings::governor,
                 &CpuSettings::governors, "its clock does not wait for load"},
                steps);
  add_latency(draft, steps);
  add_interrupts(draft, steps);
  add_workqueues(draft, steps);
}

}  // namespace launcher::parts
