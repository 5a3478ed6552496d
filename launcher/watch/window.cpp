#include "launcher/watch/window.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace launcher::inline watch {

namespace {

std::uint64_t more(std::uint64_t now, std::uint64_t before) { return now > before ? now - before : 0; }

std::optional<std::uint64_t> more(const std::optional<std::uint64_t>& now, const std::optional<std::uint64_t>& before) {
  if (!now || !before) return std::nullopt;
  return more(*now, *before);
}

std::vector<Count> more(const std::map<std::string, std::uint64_t>& now,
                        const std::map<std::string, std::uint64_t>& before) {
  std::vector<Count> counts;
  for (const auto& [name, count] : now) {
    const auto found = before.find(name);
    const std::uint64_t grown = more(count, found == before.end() ? 0 : found->second);
    if (grown > 0) counts.push_back({name, grown});
  }
  std::ranges::stable_sort(counts, std::greater<>(), &Count::count);
  return counts;
}

struct Grown {
  std::uint64_t bytes = 0;
  std::string who = {};
  std::string text() const { return bytes == 0 ? "" : fmt::format("{}: {} MiB", who, bytes >> 20); }
};

// The process that has the most more of resident memory.
Grown grown_process(const std::map<pid_t, ForeignTask>& first, const std::map<pid_t, ForeignTask>& now) {
  Grown most;
  for (const auto& [pid, task] : now) {
    const auto before = first.find(pid);
    const bool same = before != first.end() && before->second.start == task.start;
    const std::uint64_t grown =
        more(task.pages, same ? before->second.pages : 0) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    if (grown > most.bytes) most = {grown, fmt::format("{} ({})", task.name, pid)};
  }
  return most;
}

std::map<std::string, std::uint64_t> uses_of(const MemoryCounts& memory, unsigned node) {
  const auto found = memory.node_uses.find(node);
  return found == memory.node_uses.end() ? std::map<std::string, std::uint64_t>{} : found->second;
}

std::string name_of(const ThreadCounts& thread) { return fmt::format("{} ({})", thread.role, thread.tid); }

}  // namespace

Watcher::Watcher(const Sample& first, const Scope& scope) : scope_(scope), first_(first), last_(first) {
  for (const ThreadCounts& thread : first.threads) began_[thread.tid] = seen_[thread.tid] = thread;
  not_checked_ = first.not_checked;
  judge_masks(first);
}

void Watcher::add(const Sample& sample) {
  Point point{more(sample.at_ns, first_.at_ns), {}, {}, {}, {}};
  add_threads(sample, point);
  if (!traced_) add_foreign(sample);
  judge_masks(sample);
  for (const auto& [cpu, counts] : sample.cpus) {
    const auto before = last_.cpus.find(cpu);
    if (before != last_.cpus.end())
      for (const Count& count : more(counts.interrupts, before->second.interrupts))
        point.interrupts[cpu] += count.count;
    if (counts.mhz) least_mhz_[cpu] = least_mhz_.contains(cpu) ? std::min(least_mhz_[cpu], *counts.mhz) : *counts.mhz;
  }
  add_memory(sample);
  not_checked_.insert(sample.not_checked.begin(), sample.not_checked.end());
  if (sample.paused) stopped_.insert("the VM was paused");
  points_.push_back(std::move(point));
  const auto exits = last_.exits;  // asked for at both ends only
  last_ = sample;
  if (last_.exits.empty()) last_.exits = exits;
  ++looks_;
}

void Watcher::add_threads(const Sample& sample, Point& point) {
  for (const ThreadCounts& thread : sample.threads) {
    const auto before = seen_.find(thread.tid);
    if (before == seen_.end()) {  // new: everything that it ran was in this window
      began_[thread.tid] = ThreadCounts{.tid = thread.tid, .role = thread.role, .name = thread.name};
      began_[thread.tid].migrations = thread.migrations;
    }
    const ThreadCounts& last = before == seen_.end() ? began_[thread.tid] : before->second;
    point.delay_ns[thread.role] += more(thread.delay_ns, last.delay_ns);
    point.ran_ns[thread.role] += more(thread.ran_ns, last.ran_ns);
    if (thread.cpus.size() == 1) point.switches[thread.cpus.first()] += more(thread.involuntary, last.involuntary);
    seen_[thread.tid] = thread;
  }
}

void Watcher::judge_masks(const Sample& sample) {
  for (const ThreadCounts& thread : sample.threads) {
    if (thread.state == 'T' || thread.state == 't')
      stopped_.insert(
          fmt::format("{} was {}", name_of(thread), thread.state == 'T' ? "stopped" : "held by a debugger"));
    const topology::CpuSet& due = began_[thread.tid].cpus;
    if (!due.empty() && thread.cpus != due)
      moved_.insert(fmt::format("{} was on {}, not on {}", name_of(thread), thread.cpus.to_string(), due.to_string()));
  }
}

// What a task ran between two looks is put to the CPU where it was seen; one that came from elsewhere counts from its first look on.
void Watcher::add_foreign(const Sample& sample) {
  const auto ticks = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  for (const auto& [tid, task] : sample.tasks) {
    if (!task.ran_ns) continue;
    const auto before = last_.tasks.find(tid);
    const bool same = before != last_.tasks.end() && before->second.start == task.start;
    std::uint64_t ran = 0;
    if (same && before->second.ran_ns) ran = more(*task.ran_ns, *before->second.ran_ns);
    if (!same && task.start * (1'000'000'000 / ticks) >= first_.at_ns) ran = *task.ran_ns;  // it began in the window
    if (ran == 0) continue;
    TaskUse& use = tasks_[tid];
    use.tid = tid;
    use.name = task.name;
    use.bound = task.bound;
    use.ran_ns += ran;
    use.cpus.add(task.cpu);
  }
}

void Watcher::add_tasks(const std::vector<TaskUse>& traced) {
  traced_ = true;
  for (const TaskUse& one : traced) {
    TaskUse& use = tasks_[one.tid];
    use.tid = one.tid;
    use.name = one.name;
    use.bound = use.bound || one.bound;
    use.ran_ns += one.ran_ns;
    use.cpus |= one.cpus;
  }
}

bool Watcher::wants_tasks(const Sample& sample) const {
  return std::ranges::any_of(sample.memory.node_free, [&](const auto& one) {
    const auto& [node, free] = one;
    const auto start = first_.memory.node_free.find(node), size = sample.memory.node_size.find(node);
    if (start == first_.memory.node_free.end() || size == sample.memory.node_size.end()) return false;
    const auto before = node_taken_.find(node);
    const std::uint64_t most = before == node_taken_.end() ? 0 : before->second.bytes;
    return more(start->second, free) > most + size->second / 100;
  });
}

void Watcher::add_memory(const Sample& sample) {
  for (const auto& [node, free] : sample.memory.node_free) {
    const auto start = first_.memory.node_free.find(node);
    if (start == first_.memory.node_free.end()) continue;
    Taken& most = node_taken_[node];
    const std::uint64_t taken = more(start->second, free);
    if (taken <= most.bytes) continue;
    Grown best = grown_process(first_.tasks, sample.tasks);
    for (const auto& [what, bytes] : uses_of(sample.memory, node)) {
      const auto uses = uses_of(first_.memory, node);
      const auto before = uses.find(what);
      const std::uint64_t grown = more(bytes, before == uses.end() ? 0 : before->second);
      if (grown > best.bytes) best = {grown, what};
    }
    most = {taken, best.bytes * 3 >= taken ? best.text() : most.by};
  }
}

std::vector<ThreadUse> Watcher::thread_uses() const {
  std::vector<ThreadUse> uses;
  for (const auto& [tid, now] : seen_) {
    const ThreadCounts& then = began_.at(tid);
    uses.push_back({tid, now.role, now.name, now.cpus, more(now.ran_ns, then.ran_ns), more(now.delay_ns, then.delay_ns),
                    more(now.slices, then.slices), more(now.voluntary, then.voluntary),
                    more(now.involuntary, then.involuntary), more(now.migrations, then.migrations)});
  }
  return uses;
}

std::vector<CpuUse> Watcher::cpu_uses() const {
  std::vector<CpuUse> uses;
  for (const auto& [cpu, now] : last_.cpus) {
    const auto before = first_.cpus.find(cpu);
    if (before == first_.cpus.end()) continue;
    const CpuCounts& then = before->second;
    CpuUse use{cpu, scope_.own.contains(cpu)};
    use.interrupts = more(now.interrupts, then.interrupts);
    use.softirqs = more(now.softirqs, then.softirqs);
    use.busy_ns = more(now.busy_ns, then.busy_ns);
    use.irq_ns = more(now.irq_ns, then.irq_ns);
    use.steal_ns = more(now.steal_ns, then.steal_ns);
    use.throttled = more(now.throttled, then.throttled);
    if (least_mhz_.contains(cpu)) use.mhz = static_cast<std::uint64_t>(least_mhz_.at(cpu));
    uses.push_back(std::move(use));
  }
  return uses;
}

MemoryUse Watcher::memory_use() const {
  MemoryUse use;
  use.remote = last_.memory.remote;
  use.remote_more = more(last_.memory.remote, first_.memory.remote);
  use.major_faults = more(last_.memory.major_faults, first_.memory.major_faults);
  use.ksm_scanned = more(last_.memory.ksm_scanned, first_.memory.ksm_scanned);
  use.numa_hints = more(last_.memory.numa_hints, first_.memory.numa_hints);
  use.stalled_us = more(last_.memory.stalled_us, first_.memory.stalled_us);
  for (const auto& [node, taken] : node_taken_)
    if (taken.bytes > use.node_taken) {
      use.node_taken = taken.bytes;
      use.taken_by = taken.by;
      use.node_size = last_.memory.node_size.contains(node) ? last_.memory.node_size.at(node) : 0;
    }
  use.grown = grown_process(first_.tasks, last_.tasks).text();
  return use;
}

Window Watcher::window() const {
  Window window;
  window.ns = more(last_.at_ns, first_.at_ns);
  window.looks = looks_;
  window.traced = traced_;
  window.steal_told = scope_.steal_told;
  window.threads = thread_uses();
  for (const auto& [vcpu, now] : last_.exits)
    window.vcpus.push_back({vcpu, more(now, first_.exits.contains(vcpu) ? first_.exits.at(vcpu) : decltype(now){})});
  window.cpus = cpu_uses();
  for (const auto& [tid, task] : tasks_) window.tasks.push_back(task);
  std::ranges::stable_sort(window.tasks, std::greater<>(), &TaskUse::ran_ns);
  window.memory = memory_use();
  window.throttled_us = more(last_.throttled_us, first_.throttled_us);
  window.stopped.assign(stopped_.begin(), stopped_.end());
  window.moved.assign(moved_.begin(), moved_.end());
  window.policy.assign(policy_.begin(), policy_.end());
  window.not_checked.assign(not_checked_.begin(), not_checked_.end());
  return window;
}

}  // namespace launcher::watch
