#include "launcher/watch/sample.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/life/pin.hpp"
#include "launcher/proof/kvm_stats.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/steal.hpp"
#include "topology/control_groups.hpp"
#include "topology/page_location.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline watch {

namespace {

using topology::CpuSet;

// QEMU's threads come and go; those of helpers and of the kernel are as they were when the window opened.
std::vector<Thread> threads_now(const Subject& subject) {
  std::vector<Thread> threads = threads_of(*subject.state.qemu, subject.state.threads, false);
  for (const Thread& thread : subject.threads)
    if (!thread.in_qemu || std::ranges::none_of(threads, [&](const Thread& other) { return other.tid == thread.tid; }))
      threads.push_back(thread);
  return threads;
}

std::optional<ThreadCounts> counts_of(const Thread& thread, const topology::Sysfs& root) {
  const std::string dir = fmt::format("/proc/{}", thread.tid);
  const auto task = topology::parse_stat(root.read(dir + "/stat").value_or(""));
  const auto times = root.read(dir + "/schedstat");
  if (!task || !times) return std::nullopt;  // it ended
  ThreadCounts counts{.tid = thread.tid, .role = thread.role, .name = task->name, .state = task->state};
  const std::vector<std::uint64_t> numbers = numbers_in(*times);
  if (numbers.size() >= 3) {
    counts.ran_ns = numbers[0];
    counts.delay_ns = numbers[1];
    counts.slices = numbers[2];
  }
  const std::string status = root.read(dir + "/status").value_or("");
  counts.voluntary = number_after(status, "voluntary_ctxt_switches:").value_or(0);
  counts.involuntary = number_after(status, "nonvoluntary_ctxt_switches:").value_or(0);
  if (const auto mask = topology::CpuSet::parse(text_after(status, "Cpus_allowed_list:"))) counts.cpus = *mask;
  if (const auto sched = root.read(dir + "/sched")) counts.migrations = number_after(*sched, "se.nr_migrations");
  return counts;
}

}  // namespace

std::uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

Scope scope_of(const Subject& subject) {
  Scope scope;
  scope.own = subject.plan.pinned ? subject.plan.placement.exclusive : CpuSet{};
  for (const unsigned cpu : scope.own.to_vector()) {
    const auto text =
        subject.root.read(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    if (const auto siblings = text ? CpuSet::parse(*text) : std::unexpected(std::string()))
      scope.siblings |= *siblings - scope.own;
  }
  scope.steal_told = is_steal_told(subject.root);
  scope.vcpu_of = vcpu_paths(subject);
  return scope;
}

std::vector<ThreadCounts> count_threads(const Subject& subject, Sample& sample) {
  std::vector<ThreadCounts> counts;
  for (const Thread& thread : threads_now(subject))
    if (auto one = counts_of(thread, subject.root)) counts.push_back(std::move(*one));
  if (counts.empty()) sample.not_checked.insert("run time and run delay: /proc/TID/schedstat cannot be read");
  return counts;
}

std::map<pid_t, ForeignTask> count_tasks(const Subject& subject, const CpuSet& cpus, bool all) {
  std::map<pid_t, ForeignTask> tasks;
  const topology::Sysfs::Directory proc = subject.root.directory("/proc");
  const auto look = [&](const std::string& dir, const std::string& number) -> unsigned {
    const auto task = topology::parse_stat(proc.read(dir + "/stat").value_or(""));
    if (!task) return 0;
    const bool here = all && cpus.contains(task->cpu);
    if (here || dir == number) {
      ForeignTask& one = tasks[static_cast<pid_t>(std::stol(number))];
      one = {task->kernel ? "[" + task->name + "]" : task->name,
             task->start,
             {},
             task->cpu,
             task->state == 'R',
             task->bound,
             0};
      if (dir == number) one.pages = task->pages;
      const std::vector<std::uint64_t> times =
          here ? numbers_in(proc.read(dir + "/schedstat").value_or("")) : std::vector<std::uint64_t>{};
      if (!times.empty()) one.ran_ns = times[0];
    }
    return task->threads;
  };
  const auto is_process = [](const std::string& name) {
    return name.find_first_not_of("0123456789") == std::string::npos && name.size() < 10;
  };
  for (const std::string& pid : subject.root.list("/proc")) {
    if (!is_process(pid) || pid == std::to_string(subject.qemu)) continue;
    if (look(pid, pid) < 2 || !all) continue;
    for (const std::string& tid : subject.root.list("/proc/" + pid + "/task"))
      if (tid != pid) look(fmt::format("{}/task/{}", pid, tid), tid);
  }
  for (const Thread& thread : subject.threads) tasks.erase(thread.tid);
  return tasks;
}

// The kernel's file has the same name in both versions, and another word (Documentation/admin-guide/cgroup-v2.rst; sched-bwc.rst).
std::map<std::string, std::uint64_t> count_throttling(const Subject& subject) {
  std::map<std::string, std::uint64_t> throttled;
  for (const Thread& thread : subject.threads) {
    const auto own = topology::group_of(subject.root, std::to_string(thread.tid), "cpu");
    for (const topology::ControlGroup& group :
         own ? topology::and_above(*own) : std::vector<topology::ControlGroup>{}) {
      if (throttled.contains(group.directory())) break;  // and what is above it
      const std::string stat = subject.root.read(group.directory() + "/cpu.stat").value_or("");
      if (const auto us = number_after(stat, "throttled_usec")) throttled[group.directory()] = *us;
      if (const auto ns = number_after(stat, "throttled_time")) throttled[group.directory()] = *ns / 1000;
    }
  }
  return throttled;
}

Sample take_sample(const Subject& subject, const Scope& scope, bool whole) {
  Sample sample;
  sample.at_ns = now_ns();
  sample.threads = count_threads(subject, sample);
  sample.cpus = count_cpus(subject, scope.own | scope.siblings, sample);
  // all of /proc: each second only where nothing else tells who ran, else at both ends for what processes grew by
  if (scope.every_task || whole) sample.tasks = count_tasks(subject, scope.own, scope.every_task);
  sample.memory = count_memory(subject, whole, sample);
  sample.throttled_us = count_throttling(subject);
  const bool stopped = std::ranges::any_of(
      sample.threads, [&](const ThreadCounts& thread) { return thread.tid == subject.qemu && thread.state == 'T'; });
  if (whole && !stopped) sample.exits = count_exits(subject, scope, sample);  // one that is stopped answers nobody
  return sample;
}

}  // namespace launcher::watch
