// Every thread of the VM: its CPUs, its scheduling, its group, its core scheduling cookie (kernel: Documentation/admin-guide/hw-vuln/
// core-scheduling.rst).
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline proof {

namespace {

using topology::CpuSet;

std::string task_of(const Thread& thread) { return fmt::format("/proc/{}", thread.tid); }

std::string policy_text(int policy, int priority) {
  switch (policy) {
    case SCHED_OTHER:
      return "other";
    case SCHED_FIFO:
      return fmt::format("FIFO {}", priority);
    case SCHED_RR:
      return fmt::format("RR {}", priority);
    case SCHED_BATCH:
      return "batch";
    case SCHED_IDLE:
      return "idle";
    default:
      return fmt::format("policy {}", policy);
  }
}

void prove_cpus(const Thread& thread, const std::string& name, const Subject& subject, const WantedThread& wanted,
                Rows& rows) {
  if (wanted.cpus.empty()) return;  // nothing was promised
  const std::string where = task_of(thread) + "/status";
  const auto actual = topology::get_affinity(thread.tid);
  if (!actual)
    return rows.add(name + ": CPUs", wanted.cpus.to_string(), "ended meanwhile", where, Outcome::not_checked);
  const bool held = wanted.exactly ? *actual == wanted.cpus : wanted.cpus.contains(*actual);
  const Outcome outcome = held ? Outcome::held : is_bound(subject, thread.tid) ? Outcome::kernel_keeps : Outcome::lost;
  rows.add(name + ": CPUs", wanted.cpus.to_string(), actual->to_string(), where, outcome);
}

void prove_policy(const Thread& thread, const std::string& name, const WantedThread& wanted, Rows& rows) {
  sched_param param{};
  const int policy = sched_getscheduler(thread.tid);
  if (policy < 0 || sched_getparam(thread.tid, &param) < 0) return;  // ended: its CPUs say so
  const std::string is = policy_text(policy & ~SCHED_RESET_ON_FORK, param.sched_priority);
  const std::string due = wanted.fifo > 0 ? fmt::format("FIFO {}", wanted.fifo) : "other";
  // nobody promised the kernel's own threads anything
  if (wanted.fifo == 0 && !thread.in_qemu) return;
  rows.judged(name + ": scheduling", due, is, "sched_getscheduler(2)", is == due);
}

// With an isolated partition each thread is in the group whose CPUs it has.
void prove_group(const Thread& thread, const std::string& name, const Subject& subject, const WantedThread& wanted,
                 Rows& rows) {
  if (subject.plan.partition.empty() || !thread.in_qemu) return;
  const auto lines = subject.root.read(task_of(thread) + "/cgroup");
  const bool inside = subject.plan.placement.exclusive.contains(wanted.cpus);
  std::string is;
  std::istringstream text(lines.value_or(""));
  for (std::string line; std::getline(text, line);)
    if (line.starts_with("0::")) is = line.substr(3);
  const bool in_partition = !is.empty() && subject.plan.partition.ends_with(is);
  if (is.empty()) return;
  rows.judged(name + ": group", inside ? "the partition" : "outside of it", is, task_of(thread) + "/cgroup",
              in_partition == inside);
}

std::optional<std::uint64_t> cookie_of(pid_t tid) {
  std::uint64_t cookie = 0;
  constexpr unsigned long of_thread = 0;  // PR_SCHED_CORE_SCOPE_THREAD
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, static_cast<unsigned long>(tid), of_thread, &cookie) < 0) return {};
  return cookie;
}

void prove_cookies(const Subject& subject, Rows& rows) {
  if (!subject.plan.core_cookie) return;
  const std::string where = "prctl(PR_SCHED_CORE_GET)", what = "core scheduling cookie of QEMU's threads";
  const auto own = cookie_of(subject.qemu);
  if (!own) return rows.add(what, "one for all", std::strerror(errno), where, Outcome::not_checked);
  if (*own == 0) return rows.add(what, "one for all", "none", where, Outcome::lost);
  for (const Thread& thread : subject.threads) {
    if (!thread.in_qemu) continue;
    const auto cookie = cookie_of(thread.tid);
    if (cookie && *cookie != *own)
      return rows.add(what, "one for all", fmt::format("{} ({}) has another", thread.role, thread.tid), where,
                      Outcome::lost);
  }
  rows.add(what, "one for all", "one for all", where, Outcome::held);
}

// As its keeper: a unit's Nice= holds for both.
void prove_nice(const Subject& subject, Rows& rows) {
  const std::string where = fmt::format("/proc/{}/status", subject.qemu);
  const auto parent = field(subject, where, "PPid");
  const auto keeper = static_cast<id_t>(parent ? std::strtoul(parent->c_str(), nullptr, 10) : 0);
  if (keeper <= 1) return;  // it has ended
  const auto nice_of = [](id_t task) -> std::optional<int> {
    errno = 0;
    const int nice = getpriority(PRIO_PROCESS, task);
    return errno == 0 ? std::optional(nice) : std::nullopt;
  };
  const auto due = nice_of(keeper);
  for (const Thread& thread : subject.threads)
    if (const auto is = nice_of(static_cast<id_t>(thread.tid)); due && is && thread.in_qemu && *is != *due)
      rows.add(fmt::format("{} ({}): nice", thread.role, thread.tid), fmt::format("{}, as its keeper", *due),
               std::to_string(*is), "getpriority(2)", Outcome::lost);
}

// A planned thread that is gone has no row of its own above.
void prove_presence(const Subject& subject, Rows& rows) {
  for (const ThreadRecord& record : subject.state.threads) {
    if (!record.role.starts_with("vcpu ") && !record.role.starts_with("iothread ") && record.role != "vhost") continue;
    const bool there = std::any_of(subject.threads.begin(), subject.threads.end(),
                                   [&](const Thread& thread) { return thread.tid == record.tid; });
    if (!there)
      rows.add(fmt::format("{} ({})", record.role, record.tid), "there", "gone",
               fmt::format("/proc/{}/task", subject.qemu), Outcome::lost);
  }
}

}  // namespace

std::vector<Row> prove_threads(const Subject& subject) {
  Rows rows("threads");
  for (const Thread& thread : subject.threads) {
    const std::string name = fmt::format("{} ({})", thread.role, thread.tid);
    const WantedThread wanted = wanted_of(thread, subject.state.threads, subject.plan.placement);
    prove_cpus(thread, name, subject, wanted, rows);
    prove_policy(thread, name, wanted, rows);
    prove_group(thread, name, subject, wanted, rows);
  }
  prove_nice(subject, rows);
  prove_presence(subject, rows);
  prove_cookies(subject, rows);
  return rows.take();
}

}  // namespace launcher::proof
