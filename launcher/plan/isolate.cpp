// host.isolate: the VM's CPUs for itself alone. The shapes were tried in the lab: vCPU threads go into an isolated cpuset
// partition, which is a threaded group, so that QEMU's other threads stay on housekeeping CPUs; where the kernel wants every
// partition right below the root of cgroups (before Linux 6.8), QEMU's own group is threaded and there, too.
#include <fmt/format.h>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

using topology::CpuSet;

namespace {

constexpr const char* asked_by_isolate = "spec host.isolate";

CpuSet cpus_of(const TopGroup& group) { return CpuSet::parse(group.cpus).value_or(CpuSet{}); }

std::string why_not_at_all(const Draft& draft) {
  const topology::Placement& placement = draft.plan.placement;
  if (!draft.facts.root) return "that needs root";
  if (!draft.plan.pinned || placement.exclusive.empty())
    return "this VM has no CPUs of its own; wanted cpu.pin = \"auto\", or a list";
  if (!own_cpus(draft))
    return fmt::format("QEMU's main loop shares CPUs {} with vCPUs; wanted others in cpu.emulator",
                       (placement.exclusive & placement.emulator).to_string());
  return draft.facts.tuning.isolation.why;
}

std::string why_no_partition(const Draft& draft) {
  const IsolationFacts& facts = draft.facts.tuning.isolation;
  const CpuSet& ours = draft.plan.placement.exclusive;
  if (!facts.no_partition.empty()) return facts.no_partition;
  if (!facts.nested && draft.spec.schedule.quota)
    return "one schedule.quota over a partition and the VM's other threads came with Linux 6.8";
  for (const TopGroup& group : facts.groups) {
    const CpuSet theirs = cpus_of(group);
    if (!theirs.empty() && (facts.nested ? ours.contains(theirs) : ours.intersects(theirs)))
      return fmt::format("{} has CPUs {} in its cpuset.cpus", group.path, (ours & theirs).to_string());
  }
  return "";
}

std::string why_no_slices(const Draft& draft) {
  const IsolationFacts& facts = draft.facts.tuning.isolation;
  if (!facts.partitioned
           .empty())  // a list without its CPUs would stay behind when it ends, and one with them is refused
    return fmt::format("a partition has CPUs {}, beside which others' groups are not changed",
                       facts.partitioned.to_string());
  if (facts.groups.empty()) return "there are no groups to take CPUs from: all tasks are in the root of cgroups";
  for (const TopGroup& group : facts.groups)
    if (!group.cpus.empty() && draft.plan.placement.exclusive.contains(cpus_of(group)))
      return fmt::format("{} has no other CPUs than {}", group.path, group.cpus);
  return "";
}

constexpr const char* lost =
    "beside isolcpus= and nohz_full= on the kernel's command line: kernel threads that belong to each CPU, its timer "
    "tick "
    "and RCU callbacks stay";

void tell(Draft& draft, const std::string& no_partition) {
  const std::string cpus = draft.plan.placement.exclusive.to_string();
  if (draft.isolation == Isolation::slices)
    draft.note(
        fmt::format("host.isolate: no partition ({}), so CPUs {} are taken out of the groups below {}; {}; and "
                    "kernel threads and tasks in the root of cgroups, and groups made later, may still run there",
                    no_partition, cpus, draft.facts.tuning.isolation.root, lost));
  else
    draft.note(
        fmt::format("host.isolate: CPUs {} become an isolated cpuset partition, in which only the vCPUs' threads "
                    "are, {} the group of QEMU's others; {}",
                    cpus, draft.isolation == Isolation::within ? "within" : "beside", lost));
}

PlannedStep write(const std::string& file, const std::string& text, std::string why) {
  const std::string expect = text.starts_with('+') ? text.substr(1) : text;
  return {ChangeFile{file, Word{text, expect}}, std::move(why), asked_by_isolate};
}

void add_slices(Draft& draft, std::vector<PlannedStep>& steps) {
  const CpuSet& ours = draft.plan.placement.exclusive;
  for (const TopGroup& group : draft.facts.tuning.isolation.groups) {
    const CpuSet cpus = group.cpus.empty() ? ours : ours & cpus_of(group);
    if (cpus.empty()) continue;
    steps.push_back(
        {ChangeFile{group.path + "/cpuset.cpus", Cpus{cpus, {}}}, "its tasks leave the VM's CPUs", asked_by_isolate});
  }
}

void add_partition(Draft& draft, std::vector<PlannedStep>& steps) {
  const bool within = draft.isolation == Isolation::within;
  const std::string cpus = draft.plan.placement.exclusive.to_string();
  const std::string group = draft.plan.partition = within ? draft.cgroup + "/vcpus" : draft.cgroup + ":vcpus";
  if (within)
    steps.push_back(write(draft.cgroup + "/cpuset.cpus.exclusive", cpus, "what the partition in it may have"));
  steps.push_back({MakeGroup{group, false}, "the vCPUs' own: their threads are moved there before the guest runs",
                   asked_by_isolate});
  steps.push_back(write(group + "/cgroup.type", "threaded", "it takes threads, while QEMU's others stay outside"));
  steps.push_back(write(group + "/cpuset.cpus", cpus, "the VM's own CPUs"));
  steps.push_back({ChangeFile{group + "/cpuset.cpus.partition", Partition{}},
                   "no task of any other group runs on its CPUs, and no load is balanced there", asked_by_isolate});
  draft.plan.groups.push_back(group);
}

}  // namespace

void refuse(Draft& draft, Wish wish, const std::string& key, const std::string& why) {
  if (wish == Wish::yes)
    draft.problem(key, why, "remove it, or set it to \"auto\" to do without where it cannot be had");
  else if (wish == Wish::maybe)
    draft.note(key + ": not done: " + why);
}

void choose_isolation(Draft& draft) {
  const Wish wish = draft.spec.host.isolate;
  if (wish == Wish::no || !draft.placed) return;
  std::string why = why_not_at_all(draft);
  const std::string no_partition = why.empty() ? why_no_partition(draft) : "";
  if (why.empty() && no_partition.empty())
    draft.isolation = draft.facts.tuning.isolation.nested ? Isolation::within : Isolation::beside;
  else if (why.empty()) {
    why = why_no_slices(draft);
    if (why.empty())
      draft.isolation = Isolation::slices;
    else
      why = no_partition + ", and " + why;
  }
  if (!why.empty()) return refuse(draft, wish, "host.isolate", why);
  tell(draft, no_partition);
}

void add_isolation(Draft& draft, std::vector<PlannedStep>& steps) {
  const IsolationFacts& facts = draft.facts.tuning.isolation;
  const bool shares = draft.spec.schedule.weight || draft.spec.schedule.quota;
  const std::string top = facts.root + "/cgroup.subtree_control";
  if (shares && !facts.no_cpu.empty())
    draft.problem(draft.spec.schedule.weight ? "schedule.weight" : "schedule.quota", facts.no_cpu, "remove it");
  for (const auto& [controller, there] : {std::pair("cpuset", facts.has_cpuset), {"cpu", facts.has_cpu || !shares}}) {
    if (there) continue;
    steps.push_back(write(top, std::string("+") + controller, "the controller, for the groups below"));
    draft.note(fmt::format("host.isolate: the {} controller is turned on in {}, and stays on", controller, top));
  }
  draft.cgroup = facts.root + "/vmrun-" + draft.spec.name;
  steps.push_back({MakeGroup{draft.cgroup, false}, "the VM's own: QEMU is born in it", asked_by_isolate});
  draft.plan.groups.push_back(draft.cgroup);
  if (draft.isolation == Isolation::beside)
    steps.push_back(write(draft.cgroup + "/cgroup.type", "threaded",
                          "a process may have threads in several groups only if they are threaded"));
  steps.push_back(
      write(draft.cgroup + "/cgroup.subtree_control", "+cpuset",
            "while a group has it on, systemd cannot turn it off above, which it does with what it does not use"));
  if (draft.isolation == Isolation::slices)
    add_slices(draft, steps);
  else
    add_partition(draft, steps);
  add_shares(draft, steps);
}

}  // namespace launcher::parts
