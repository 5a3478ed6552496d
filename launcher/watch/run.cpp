#include "launcher/watch/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <set>

#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"
#include "launcher/watch/clock.hpp"
#include "launcher/watch/events.hpp"
#include "launcher/watch/halts.hpp"
#include "launcher/watch/kernel_log.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/trace.hpp"
#include "topology/page_location.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline watch {

namespace {

using Clock = std::chrono::steady_clock;

void leave(const topology::CpuSet& own) {
  const auto mine = topology::get_affinity(0);
  if (mine && !(*mine - own).empty())
    (void)topology::set_affinity(0, *mine - own);  // else it is told as a foreign task
}

// Those of others: the VM's threads are not foreign to it.
std::vector<TaskUse> foreign(std::vector<TaskUse> uses, const Sample& sample, const Subject& subject) {
  std::set<pid_t> own;
  for (const ThreadCounts& thread : sample.threads) own.insert(thread.tid);
  std::erase_if(uses, [&](const TaskUse& use) { return own.contains(use.tid); });
  for (TaskUse& use : uses) {
    const auto task = topology::parse_stat(subject.root.read(fmt::format("/proc/{}/stat", use.tid)).value_or(""));
    if (!task) continue;
    use.bound = task->bound;
    if (task->kernel) use.name = "[" + task->name + "]";
  }
  return uses;
}

bool is_paused(const Subject& subject) {
  const Answer answer = ask(subject, {"query-status"});
  const boost::json::value* running = answer.value ? member(*answer.value, "running") : nullptr;
  return running != nullptr && running->is_bool() && !running->get_bool();
}

// One that is stopped answers nobody, and is not asked.
std::unique_ptr<::qmp::Client> monitor_of(const Subject& subject, const WatchFor& wanted) {
  const auto task = topology::parse_stat(subject.root.read(fmt::format("/proc/{}/stat", subject.qemu)).value_or(""));
  return wanted.monitor && task && task->state != 'T' ? wanted.monitor() : nullptr;
}

Sample whole_or_not(Subject& subject, const Scope& scope, const WatchFor& wanted, bool whole) {
  const auto monitor = whole ? monitor_of(subject, wanted) : nullptr;
  subject.monitor = monitor.get();
  Sample sample = take_sample(subject, scope, whole);
  subject.monitor = nullptr;
  return sample;
}

struct Run {
  Subject& subject;
  const WatchFor& wanted;
  Scope scope;
  SwitchTrace trace;
  KernelLog log;
  Halts halts;
  CoreClock clock;
  Events events;
  Watcher watcher;

  Run(Subject& vm, const WatchFor& asked, const Scope& first_scope, const Sample& first)
      : subject(vm),
        wanted(asked),
        scope(first_scope),
        trace(scope.own, vm.root),
        halts(vm, first.threads),
        clock(scope.own | scope.siblings, vm.root),
        events(vm, first),
        watcher(first, scope) {
    trace.began_with(first.tasks);
    scope.every_task = !trace.error().empty() && !scope.own.empty();
    if (first.paused) watcher.stopped("the VM was paused");
  }

  void look(bool whole) {
    if (!is_alive(*subject.state.qemu)) throw std::runtime_error("the VM ended meanwhile");
    Sample sample = whole_or_not(subject, scope, wanted, whole);
    if (sample.tasks.empty() && watcher.wants_tasks(sample)) sample.tasks = count_tasks(subject, scope.own, false);
    clock.add_to(sample.cpus, whole);
    if (trace.error().empty()) watcher.add_tasks(foreign(trace.take(), sample, subject));
    watcher.add(sample);
  }
  // Until then, or until somebody wants it to end; switches are read meanwhile.
  bool wait(Clock::time_point until) {
    using std::chrono::milliseconds;
    const Halts::Told told{[this](const std::string& what) { watcher.stopped(what); },
                           [this](const std::string& what) { watcher.moved(what); },
                           [this](const std::string& what) { watcher.policy(what); }};
    while (Clock::now() < until) {
      const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
      halts.wait(std::min(milliseconds(100), left), told);
      trace.read();
      if (wanted.phase && wanted.phase() == Phase::paused) watcher.stopped("the VM was paused");
      if (wanted.ended && wanted.ended()) return true;
    }
    return false;
  }
  Watched so_far(const Thresholds& thresholds) const {
    Watched watched{watcher.window(), {}, watcher.points()};
    if (trace.lost() > 0)
      watched.window.not_checked.push_back(
          fmt::format("{} switches on the VM's CPUs, which the kernel had to drop", trace.lost()));
    watched.window.clock = clock.source();
    events.add_to(watched.window);
    watched.offenders = judge(watched.window, thresholds);
    std::ranges::copy(unproven(watched.window, thresholds), std::back_inserter(watched.window.not_checked));
    return watched;
  }
};

}  // namespace

Watched watch_window(Subject& subject, const WatchFor& wanted, const Thresholds& thresholds) {
  auto monitor = monitor_of(subject, wanted);
  subject.monitor = monitor.get();
  const Scope scope = scope_of(subject);
  leave(scope.own | scope.siblings);
  Sample first = take_sample(subject, scope, true);
  first.paused = is_paused(subject);
  subject.monitor = nullptr;
  monitor.reset();
  Run run(subject, wanted, scope, first);
  if (wanted.began) wanted.began();
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration_cast<Clock::duration>(wanted.most);
  for (auto next = start + std::chrono::seconds(1);; next += std::chrono::seconds(1)) {
    const bool last = run.wait(std::min(next, end)) || Clock::now() >= end;
    run.look(last);
    if (last) break;
    if (wanted.told) wanted.told(run.so_far(thresholds));
  }
  Watched watched = run.so_far(thresholds);
  watched.window.log = run.log.warnings();
  return watched;
}

}  // namespace launcher::watch
