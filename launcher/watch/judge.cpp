#include "launcher/watch/judge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <stdexcept>

namespace launcher::inline watch {

namespace {

using topology::CpuSet;

constexpr std::string_view share_unit = "% of the window", rate_unit = "a second", bytes_unit = "bytes",
                           times_unit = "times";

std::string text(double value, std::string_view unit) {
  if (unit == bytes_unit || unit == times_unit) return fmt::format("{:.0f} {}", value, unit);
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : 1, unit);
}

struct Judge {
  const Window& window;
  const Thresholds& thresholds;
  std::vector<Offender>& found;

  double share(std::uint64_t ns) const {
    return window.ns == 0 ? 0 : 100.0 * static_cast<double>(ns) / static_cast<double>(window.ns);
  }
  double rate(std::uint64_t count) const {
    return window.ns == 0 ? 0 : 1e9 * static_cast<double>(count) / static_cast<double>(window.ns);
  }
  // True where it is beyond its threshold; then it is on the list.
  bool beyond(std::string_view name, double amount, const std::string& subject, const std::string& who) const {
    const double limit = thresholds[name];
    if (amount <= limit) return false;
    const auto known = std::ranges::find(default_thresholds(), name, &Threshold::name);
    found.push_back({std::string(name), subject, who, text(amount, known->unit), text(limit, known->unit)});
    return true;
  }
};

bool is_vcpu(const ThreadUse& thread) { return thread.role.starts_with("vcpu "); }
bool is_worker(const ThreadUse& thread) {
  return is_vcpu(thread) || thread.role.starts_with("iothread") || thread.role == "vhost";
}
std::string subject_of(const ThreadUse& thread) { return fmt::format("{} ({})", thread.role, thread.tid); }
bool of_device(const Count& softirq) {
  constexpr std::array<std::string_view, 5> of_devices = {"NET_RX", "NET_TX", "BLOCK", "TASKLET", "IRQ_POLL"};
  return std::ranges::find(of_devices, softirq.name) != of_devices.end();
}
// Where softirqs come faster than they are done, their thread does them many at a time: then they are few, and it runs long.
std::string work_of(const TaskUse& task, const Window& window) {
  if (!task.name.starts_with("[ksoftirqd/")) return {};
  for (const CpuUse& cpu : window.cpus) {
    if (!task.cpus.contains(cpu.cpu)) continue;
    const auto most = std::ranges::find_if(cpu.softirqs, of_device);
    if (most != cpu.softirqs.end()) return ", for softirq " + most->name;
  }
  return {};
}
std::string who_of(const TaskUse& task, const Window& window) {
  return fmt::format("{} ({}){}{}", task.name, task.tid, task.bound ? ", which the kernel keeps there" : "",
                     work_of(task, window));
}

// Those on which vCPUs run and nothing else of the VM: a device's interrupt that serves the VM's own I/O goes elsewhere.
CpuSet cpus_of_vcpus(const Window& window) {
  CpuSet vcpus, others;
  for (const ThreadUse& thread : window.threads) (is_vcpu(thread) ? vcpus : others) |= thread.cpus;
  CpuSet own;
  for (const CpuUse& cpu : window.cpus)
    if (cpu.own) own.add(cpu.cpu);
  return (vcpus - others) & own;
}

// A worker of the kernel's that ran for a moment seems to have run for as long as the host of this host took its CPU away: where that is
// not told, only what it worked for proves anything.
bool is_proof(const TaskUse& task, const Window& window) {
  return !task.bound || window.steal_told || !work_of(task, window).empty();
}

// Who can have kept a thread from its CPU: at least a third of its delay.
std::string reason_of(const ThreadUse& thread, const Judge& judge) {
  std::string reason;
  const auto blame = [&](const std::string& who, std::uint64_t ns) {
    if (ns * 3 >= thread.delay_ns) reason += (reason.empty() ? "" : "; ") + who;
  };
  for (const TaskUse& task : judge.window.tasks)
    if (task.cpus.intersects(thread.cpus) && is_proof(task, judge.window))
      blame(who_of(task, judge.window), task.ran_ns);
  for (const CpuUse& cpu : judge.window.cpus)
    if (thread.cpus.contains(cpu.cpu)) blame(fmt::format("the host of this host, on CPU {}", cpu.cpu), cpu.steal_ns);
  for (const Count& group : judge.window.throttled_us)
    blame("the limit (cpu.max) of " + group.name, group.count * 1000);
  for (const ThreadUse& other : judge.window.threads)
    if (other.tid != thread.tid && other.cpus.intersects(thread.cpus))
      blame(fmt::format("the VM's own {}", subject_of(other)), other.ran_ns);
  return reason;
}

bool is_proven(const std::string& reason, const Window& window) { return !reason.empty() || window.steal_told; }

void judge_delays(const Judge& judge) {
  for (const ThreadUse& thread : judge.window.threads) {
    if (!is_worker(thread)) continue;
    const std::string reason = reason_of(thread, judge);
    if (is_proven(reason, judge.window))
      judge.beyond("run-delay", judge.share(thread.delay_ns), subject_of(thread), reason);
  }
}

void judge_tasks(const Judge& judge) {
  struct Alike {
    unsigned tasks = 0;
    std::uint64_t ran_ns = 0;
    CpuSet cpus = {};
  };
  std::map<std::string, Alike> short_lived;  // each too short to count, not so all of one name: a build's, a script's
  for (const TaskUse& task : judge.window.tasks) {
    if (!is_proof(task, judge.window)) continue;
    if (judge.beyond(task.bound ? "kernel-worker" : "foreign-task", judge.share(task.ran_ns),
                     "CPUs " + task.cpus.to_string(), who_of(task, judge.window)) ||
        task.bound)
      continue;
    Alike& alike = short_lived[task.name];
    ++alike.tasks;
    alike.ran_ns += task.ran_ns;
    alike.cpus |= task.cpus;
  }
  for (const auto& [name, alike] : short_lived)
    if (alike.tasks > 1)
      judge.beyond("foreign-task", judge.share(alike.ran_ns), "CPUs " + alike.cpus.to_string(),
                   fmt::format("{} tasks called {}", alike.tasks, name));
}

void judge_interrupts(const Judge& judge) {
  const CpuSet vcpus = cpus_of_vcpus(judge.window);
  for (const CpuUse& cpu : judge.window.cpus) {
    if (!vcpus.contains(cpu.cpu)) continue;
    const std::string subject = fmt::format("CPU {}", cpu.cpu);
    bool told = false;
    for (const Count& one : cpu.interrupts)
      if (one.name.starts_with("IRQ ") && one.name.find("vfio") == std::string::npos)
        told = judge.beyond("interrupts", judge.rate(one.count), subject, one.name) || told;
    for (const Count& one : cpu.softirqs)
      if (of_device(one))
        told = judge.beyond("interrupts", judge.rate(one.count), subject, "softirq " + one.name) || told;
    if (!told && cpu.irq_ns > 0) judge.beyond("interrupt-time", judge.share(cpu.irq_ns), subject, "");
  }
}

void judge_cpus(const Judge& judge) {
  for (const CpuUse& cpu : judge.window.cpus) {
    const std::string subject = fmt::format("CPU {}", cpu.cpu);
    if (!cpu.own) {
      judge.beyond("sibling", judge.share(cpu.busy_ns), subject,
                   "the other half of a core of the VM's, which is nobody's");
      continue;
    }
    judge.beyond("steal", judge.share(cpu.steal_ns), subject, "the host of this host");
    if (cpu.throttled) judge.beyond("heat", static_cast<double>(*cpu.throttled), subject, "the hardware");
  }
}

void judge_memory(const Judge& judge) {
  const MemoryUse& memory = judge.window.memory;
  if (memory.remote_more)
    judge.beyond("remote-memory", static_cast<double>(*memory.remote_more), "guest memory",
                 "moved to a node that it was not planned for");
  if (memory.moved)
    judge.beyond("memory-moved", static_cast<double>(*memory.moved), "guest memory",
                 "somebody, or the kernel, who moved it from one place to another");
  judge.beyond("major-faults", judge.rate(memory.major_faults), "QEMU", "memory that had to be read from a disk");
  if (memory.ksm_scanned) judge.beyond("ksm", judge.rate(*memory.ksm_scanned), "memory", "ksmd, which compares pages");
  if (memory.stalled_us)
    judge.beyond("memory-pressure", judge.share(*memory.stalled_us * 1000), "memory", memory.grown);
  if (memory.node_size > 0)
    judge.beyond("memory-taken", 100.0 * static_cast<double>(memory.node_taken) / static_cast<double>(memory.node_size),
                 "a node of the VM's", memory.taken_by);
}

void judge_states(const Judge& judge) {
  for (const std::string& what : judge.window.stopped) judge.beyond("stopped", 1, what, "");
  for (const std::string& what : judge.window.moved) judge.beyond("moved", 1, what, "");
  for (const std::string& what : judge.window.policy) judge.beyond("policy", 1, what, "");
  for (const ThreadUse& thread : judge.window.threads)
    if (thread.cpus.size() == 1 && is_worker(thread) && thread.migrations)
      judge.beyond("moved", static_cast<double>(*thread.migrations), subject_of(thread),
                   "somebody who changed its CPUs for a while");
  for (const Count& group : judge.window.throttled_us)
    judge.beyond("limit", judge.share(group.count * 1000), group.name, "its cpu.max");
}

}  // namespace

const std::vector<Threshold>& default_thresholds() {
  static const std::vector<Threshold> table = {
      {"run-delay", 0.5, share_unit, "a vCPU, iothread or vhost worker was ready and did not run"},
      {"foreign-task", 0.2, share_unit, "a task that is not the VM's ran on a CPU of its own"},
      {"kernel-worker", 2, share_unit, "a task that the kernel keeps on a CPU of the VM's ran there"},
      {"interrupts", 1000, rate_unit, "a device's interrupts, or its softirqs, on a vCPU's CPU"},
      {"interrupt-time", 2, share_unit, "time in interrupts on a vCPU's CPU"},
      {"sibling", 5, share_unit, "the other half of a core of the VM's, which nobody owns, was busy"},
      {"steal", 0.5, share_unit, "the host is a guest itself, and its host took the CPU away"},
      {"heat", 0, times_unit, "the hardware slowed a core down for its heat"},
      {"remote-memory", 0, bytes_unit, "memory of the guest went to a node that it was not planned for"},
      {"memory-moved", 1 << 20, bytes_unit, "memory of the guest was moved, though it may be back"},
      {"major-faults", 10, rate_unit, "QEMU waited for memory from a disk"},
      {"ksm", 10, rate_unit, "pages scanned by KSM"},
      {"memory-pressure", 0.5, share_unit, "somebody on this host waited for memory (PSI)"},
      {"memory-taken", 10, "% of the node", "free memory that a node of the VM's lost meanwhile"},
      {"stopped", 0, times_unit, "a thread of the VM's was stopped, or the VM paused or frozen"},
      {"moved", 0, times_unit, "a pinned thread left its CPU"},
      {"policy", 0, times_unit, "a thread's scheduling was another one for a while"},
      {"limit", 0.1, share_unit, "a control group above the VM held its threads back"},
  };
  return table;
}

double Thresholds::operator[](std::string_view name) const {
  return std::ranges::find(all_, name, &Threshold::name)->value;
}

void Thresholds::set(std::string_view words) {
  const std::size_t sign = words.find('=');
  const auto found = std::ranges::find(all_, words.substr(0, sign), &Threshold::name);
  if (found == all_.end()) {
    std::string names;
    for (const Threshold& one : all_) names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
    throw std::invalid_argument(fmt::format("no threshold is called '{}'; there are {}", words.substr(0, sign), names));
  }
  const std::string_view number = sign == std::string_view::npos ? std::string_view() : words.substr(sign + 1);
  double value = -1;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size() || !(value >= 0))
    throw std::invalid_argument(
        fmt::format("{} takes a number from 0 up ({}), not '{}'", found->name, found->unit, number));
  found->value = value;
}

std::vector<std::string> unproven(const Window& window, const Thresholds& thresholds) {
  std::vector<Offender> found;
  const Judge judge{window, thresholds, found};
  std::vector<std::string> texts;
  for (const TaskUse& task : window.tasks)
    if (!is_proof(task, window) &&
        judge.beyond("kernel-worker", judge.share(task.ran_ns), "CPUs " + task.cpus.to_string(), who_of(task, window)))
      texts.push_back(
          fmt::format("kernel-worker: {}: {}: {}, or the host of this host, which takes time without telling",
                      found.back().subject, found.back().amount, found.back().who));
  for (const ThreadUse& thread : window.threads)
    if (is_worker(thread) && !is_proven(reason_of(thread, judge), window) &&
        judge.beyond("run-delay", judge.share(thread.delay_ns), subject_of(thread), ""))
      texts.push_back(fmt::format(
          "run-delay: {}: {}: nothing here explains it, and the host of this host takes time without telling",
          found.back().subject, found.back().amount));
  return texts;
}

std::vector<Offender> judge(const Window& window, const Thresholds& thresholds) {
  std::vector<Offender> found;
  const Judge judge{window, thresholds, found};
  for (const auto part : {judge_states, judge_delays, judge_tasks, judge_interrupts, judge_cpus, judge_memory})
    part(judge);
  return found;
}

}  // namespace launcher::watch
