// What control groups hold the VM back by, of either version and of every group above its threads: CPU time, memory, a freezer. The rule:
// a limit is no loss where all that the plan wants fits below it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "topology/control_groups.hpp"

namespace launcher::inline proof {

namespace {

using topology::ControlGroup;

// What /proc/PID/cgroup says, most often the same of all threads, and how many of those want a CPU to themselves.
using Memberships = std::map<std::string, unsigned>;
Memberships memberships_of(const Subject& subject) {
  Memberships memberships;
  for (const Thread& thread : subject.threads) {
    const bool works = thread.role.starts_with("vcpu ") || thread.role.starts_with("iothread ");
    const auto text = subject.root.read(fmt::format("/proc/{}/cgroup", thread.tid));
    if (text && thread.in_qemu) memberships[*text] += works ? 1 : 0;
  }
  return memberships;
}

// Each group that has them, or has a group that has them.
struct Above {
  std::map<std::string, unsigned> workers;  // by the group's directory
  bool v2 = true;
};
Above groups_above(const Memberships& memberships, const Subject& subject, const char* controller) {
  Above above;
  for (const auto& [text, workers] : memberships)
    if (const auto own = topology::group_in(text, subject.root, controller)) {
      above.v2 = own->v2;
      for (const ControlGroup& group : topology::and_above(*own)) above.workers[group.directory()] += workers;
    }
  return above;
}

// In CPUs; nullopt: none (kernel: Documentation/admin-guide/cgroup-v2.rst, "cpu.max"; Documentation/scheduler/sched-bwc.rst).
std::optional<double> cpu_limit(const topology::Sysfs& root, const std::string& group, bool v2) {
  std::istringstream words(v2 ? root.read(group + "/cpu.max").value_or("")
                              : root.read(group + "/cpu.cfs_quota_us").value_or("") + " " +
                                    root.read(group + "/cpu.cfs_period_us").value_or(""));
  double quota = 0, period = 0;
  if (!(words >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;  // "max 100000", "-1 100000"
  return quota / period;
}

void prove_cpu_time(const Memberships& memberships, const Subject& subject, Rows& rows) {
  const auto [groups, v2] = groups_above(memberships, subject, "cpu");
  for (const auto& [group, workers] : groups) {
    const auto limit = cpu_limit(subject.root, group, v2);
    if (!limit) continue;
    rows.judged("CPU time of " + group, fmt::format("no limit below {} CPUs", workers),
                fmt::format("{:.2f} CPUs", *limit), group + (v2 ? "/cpu.max" : "/cpu.cfs_quota_us"), *limit >= workers);
  }
}

// A group that comes after others: idle, or with less than everybody's share (v2's weight 100, v1's 1024 shares).
void prove_shares(const Memberships& memberships, const Subject& subject, Rows& rows) {
  const auto [groups, v2] = groups_above(memberships, subject, "cpu");
  const std::uint64_t usual = v2 ? 100 : 1024;
  for (const auto& [group, workers] : groups) {
    const std::string file = group + (v2 ? "/cpu.weight" : "/cpu.shares");
    const std::string what = "share of CPU time of " + group, due = fmt::format("{} or more", usual);
    if (subject.root.read_number(group + "/cpu.idle") == 1u)
      rows.add(what, due, "idle", group + "/cpu.idle", Outcome::lost);
    else if (const auto share = subject.root.read_number(file); share && *share < usual)
      rows.add(what, due, std::to_string(*share), file, Outcome::lost);
  }
}

// Huge pages are charged to nobody here (memory.hugetlb_accounting aside); the guest's other memory is.
void prove_memory_limits(const Memberships& memberships, const Subject& subject, Rows& rows) {
  if (subject.plan.placement.page >= topology::mib(1)) return;
  topology::Bytes memory;
  for (const topology::MemoryCell& cell : subject.plan.placement.cells) memory.count += cell.size.count;
  for (const auto& [group, workers] : groups_above(memberships, subject, "memory").workers)
    for (const char* file : {"/memory.max", "/memory.high", "/memory.limit_in_bytes"})
      if (const auto limit = subject.root.read_number(group + file); limit && *limit < topology::unlimited_memory)
        rows.judged("memory of " + group, "no limit below " + to_string(memory), to_string(topology::Bytes{*limit}),
                    group + file, *limit >= memory.count);
}

// A group is frozen with all that are below it: it is told where it is somebody's will. Without a freezer of version 1 both words find
// version 2's groups.
void prove_freezers(const Memberships& memberships, const Subject& subject, Rows& rows) {
  std::set<std::string> told;
  for (const char* controller : {"", "freezer"}) {
    const auto [groups, v2] = groups_above(memberships, subject, controller);
    for (const auto& [group, workers] : groups) {
      const std::string file = topology::freezer_file({group, "", v2});
      if (!topology::is_frozen(subject.root.read(file).value_or(""))) continue;
      const std::string by = topology::frozen_by(subject.root, group);
      if (told.insert(by).second) rows.add("state of " + by, "not frozen", "frozen", file, Outcome::lost);
    }
  }
}

}  // namespace

std::vector<Row> prove_limits(const Subject& subject) {
  Rows rows("threads");
  const Memberships memberships = memberships_of(subject);
  prove_cpu_time(memberships, subject, rows);
  prove_shares(memberships, subject, rows);
  prove_memory_limits(memberships, subject, rows);
  prove_freezers(memberships, subject, rows);
  return rows.take();
}

}  // namespace launcher::proof
