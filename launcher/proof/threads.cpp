// Every thread of the VM: its CPUs, its scheduling, its group, its core scheduling cookie (kernel: Documentation/admin-guide/hw-vuln/
// core-scheduling.rst).
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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
  // io_uring makes its workers when they are needed, on all CPUs of a node (Linux 6.1), and ends them: no launch can pin them
  const bool by_kernel = thread.name.starts_with("iou-wrk-") && actual->contains(wanted.cpus);
  const Outcome outcome = held                                         ? Outcome::held
                          : by_kernel || is_bound(subject, thread.tid) ? Outcome::kernel_keeps
                                                                       : Outcome::lost;
  rows.add(name + ": CPUs", wanted.cpus.to_string(), actual->to_string(), where, outcome);
}

void prove_policy(const Thread& thread, const std::string& name, const WantedThread& wanted, Rows& rows) {
  const auto is = scheduling_of(thread.tid);
  if (!is) return;  // ended: its CPUs say so
  const std::string due = wanted.fifo > 0 ? fmt::format("FIFO {}", wanted.fifo) : "other";
  // nobody promised the kernel's own threads anything
  if (wanted.fifo == 0 && !thread.in_qemu && thread.role != "vhost") return;
  rows.judged(name + ": scheduling", due, *is, "sched_getscheduler(2)", *is == due);
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

std::optional<std::string> nice_of(pid_t task) {
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(task));
  return errno == 0 ? std::optional(std::to_string(nice)) : std::nullopt;
}

// Before the disks (kernel: Documentation/block/ioprio.rst; glibc has no function for it).
std::optional<std::string> io_priority_of(pid_t task) {
  constexpr int of_process = 1, class_shift = 13, classes = 4, levels = 8;
  constexpr const char* names[classes] = {"none", "real-time", "best effort", "idle"};
  const long value = syscall(SYS_ioprio_get, of_process, task);
  if (value < 0 || (value >> class_shift) >= classes) return std::nullopt;
  const char* name = names[value >> class_shift];
  const bool has_level = (value >> class_shift) == 1 || (value >> class_shift) == 2;
  return has_level ? fmt::format("{} {}", name, value % levels) : name;
}

// As its keeper: a unit's Nice= and IOSchedulingClass= hold for both.
void prove_precedence(const Subject& subject, Rows& rows) {
  const std::string where = fmt::format("/proc/{}/status", subject.qemu);
  const auto parent = field(subject, where, "PPid");
  const auto keeper = static_cast<pid_t>(parent ? std::strtol(parent->c_str(), nullptr, 10) : 0);
  if (keeper <= 1) return;  // it has ended
  struct Kind {
    const char* what;
    std::optional<std::string> (*read)(pid_t);
    const char* where;
  };
  for (const Kind& kind :
       {Kind{"nice", nice_of, "getpriority(2)"}, Kind{"I/O priority", io_priority_of, "ioprio_get(2)"}}) {
    const auto due = kind.read(keeper);
    for (const Thread& thread : subject.threads)
      if (const auto is = kind.read(thread.tid); due && is && thread.in_qemu && *is != *due)
        rows.add(fmt::format("{} ({}): {}", thread.role, thread.tid, kind.what), *due + ", as its keeper", *is,
                 kind.where, Outcome::lost);
  }
}

// uclamp(7)'s bounds of how busy a thread may look, of 1024; "": none, or the kernel has no such thing.
std::string clamp_text(pid_t tid) {
  struct {  // struct sched_attr, which glibc 2.36 does not have
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
    std::uint32_t least, most;
  } attr{};
  constexpr unsigned whole = 1024;
  if (syscall(SYS_sched_getattr, tid, &attr, sizeof attr, 0) != 0 || attr.most == 0) return "";
  if (attr.most == whole && (attr.least == 0 || attr.policy == SCHED_FIFO || attr.policy == SCHED_RR)) return "";
  return fmt::format(", clamped to {}-{} of {}", attr.least, attr.most, whole);
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

std::optional<std::string> scheduling_of(pid_t tid) {
  sched_param param{};
  const int policy = sched_getscheduler(tid);
  if (policy < 0 || sched_getparam(tid, &param) < 0) return std::nullopt;
  return policy_text(policy & ~SCHED_RESET_ON_FORK, param.sched_priority) + clamp_text(tid);
}

std::vector<Row> prove_threads(const Subject& subject) {
  Rows rows("threads");
  for (const Thread& thread : subject.threads) {
    const std::string name = fmt::format("{} ({})", thread.role, thread.tid);
    const WantedThread wanted = wanted_of(thread, subject.state.threads, subject.plan.placement);
    prove_cpus(thread, name, subject, wanted, rows);
    prove_policy(thread, name, wanted, rows);
    prove_group(thread, name, subject, wanted, rows);
  }
  prove_precedence(subject, rows);
  prove_presence(subject, rows);
  prove_cookies(subject, rows);
  return rows.take();
}

}  // namespace launcher::proof
