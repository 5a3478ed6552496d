// How the host schedules the VM: FIFO priorities, core scheduling, a cgroup and a share of the L3s. The rule: a priority
// that could stop the host is given only where the host does not need the CPU, and what cannot be set is refused.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

bool may_be_fifo(Draft& draft, const char* key, unsigned priority) {
  const unsigned limit = draft.facts.cpu.schedule.fifo_limit;
  if (priority <= limit) return true;
  draft.problem(std::string("schedule.") + key,
                limit == 0
                    ? fmt::format("{}, but this user may not use SCHED_FIFO", priority)
                    : fmt::format("{}, but this user may use SCHED_FIFO up to {} (RLIMIT_RTPRIO)", priority, limit),
                "run as root, raise the limit (`ulimit -r`, LimitRTPRIO= in a unit), or remove it");
  return false;
}

void add_vcpu_fifo(Draft& draft) {
  const unsigned priority = draft.spec.schedule.vcpu_fifo;
  if (priority == 0 || !may_be_fifo(draft, "vcpu_fifo", priority)) return;
  if (!own_cpus(draft)) {
    draft.problem("schedule.vcpu_fifo",
                  "the vCPUs share their CPUs; wanted CPUs of their own: a vCPU that spins would keep all else from "
                  "running there",
                  own_cpus_by_auto(draft) ? "set cpu.pin = \"auto\" and cpu.emulator = \"auto\", or remove vcpu_fifo"
                                          : "remove vcpu_fifo: this host has no CPU left for QEMU's own threads");
    return;
  }
  draft.plan.vcpu_fifo = priority;
  const auto& runtime = draft.facts.cpu.schedule.rt_runtime_us;
  if (runtime && *runtime >= 0)
    draft.note(
        fmt::format("schedule.vcpu_fifo: kernel.sched_rt_runtime_us = {}: the kernel takes a busy vCPU's CPU away for "
                    "the rest of each period (sched_rt_period_us); -1 stops that",
                    *runtime));
}

void add_iothread_fifo(Draft& draft) {
  const unsigned priority = draft.spec.schedule.iothread_fifo;
  if (priority == 0 || !may_be_fifo(draft, "iothread_fifo", priority)) return;
  if (draft.plan.iothreads.empty()) {
    draft.problem("schedule.iothread_fifo", "this VM has no iothread", "remove it, or give a disk its iothread");
    return;
  }
  for (const IothreadPin& pin : draft.plan.iothreads) {
    if (pin.cpus.size() != 1 || !pin.cpus.intersects(draft.plan.placement.emulator)) continue;
    draft.problem(
        "schedule.iothread_fifo",
        fmt::format("{} has CPU {} alone, with QEMU's main loop; wanted two CPUs at least: an iothread that polls "
                    "would keep the main loop from running",
                    pin.id, pin.cpus.to_string()),
        "set cpu.emulator to two CPUs or more, or remove iothread_fifo");
    return;
  }
  draft.plan.iothread_fifo = priority;
}

void add_core_scheduling(Draft& draft) {
  if (!draft.spec.schedule.core) return;
  if (const std::string& why = draft.facts.cpu.schedule.core_why; !why.empty())
    draft.problem("schedule.core", "true, but " + why, "remove it");
  draft.plan.core_cookie = true;
}

void add_cgroup(Draft& draft, std::vector<PlannedStep>& steps) {
  const ScheduleSpec& asked = draft.spec.schedule;
  if (draft.isolation != Isolation::none) return add_isolation(draft, steps);
  if (!asked.weight && !asked.quota) return;
  const CgroupFacts& facts = draft.facts.cpu.schedule.cgroup;
  const char* key = asked.weight ? "schedule.weight" : "schedule.quota";
  const std::string origin = std::string("spec ") + key;
  if (facts.parent.empty()) {
    draft.problem(key, "needs a cgroup of the VM's own, but " + facts.why, "remove it");
    return;
  }
  const std::string at_top = facts.parent.substr(0, facts.parent.rfind('/')) + "/cgroup.subtree_control";
  const auto enable = [&](const std::string& file) {
    steps.push_back({ChangeFile{file, Word{"+cpu", "cpu"}}, "the cpu controller, for the groups below", "host"});
    if (file == at_top && facts.make_parent)
      draft.note(fmt::format("schedule: the cpu controller is turned on in {}, and stays on", file));
  };
  for (const std::string& file : facts.enable)
    if (!file.starts_with(facts.parent + "/")) enable(file);
  if (facts.make_parent)
    steps.push_back({MakeGroup{facts.parent, true}, "holds the cgroups of all VMs of vmrun", origin});
  for (const std::string& file : facts.enable)
    if (file.starts_with(facts.parent + "/")) enable(file);
  draft.cgroup = facts.parent + "/vm-" + draft.spec.name;
  steps.push_back({MakeGroup{draft.cgroup, false}, "the VM's own: QEMU is born in it", origin});
  add_shares(draft, steps);
  draft.plan.groups.push_back(draft.cgroup);
}

// What the kernel would say "Invalid argument" to.
std::string why_no_share(const CacheFacts& facts, const CacheShare& share) {
  if (!facts.known) return "";
  const std::uint32_t bits = share.ways;
  if (std::find(facts.caches.begin(), facts.caches.end(), share.cache) == facts.caches.end())
    return fmt::format("this host has no L3 {}; it has {}", share.cache, fmt::join(facts.caches, ","));
  if ((bits & ~facts.all) != 0) return fmt::format("mask {:x} is beyond the cache's ways, {:x}", bits, facts.all);
  if (static_cast<unsigned>(std::popcount(bits)) < facts.least)
    return fmt::format("mask {:x} has fewer than {} ways, the least here", bits, facts.least);
  const std::uint32_t filled = bits >> std::countr_zero(bits);
  if (!facts.gaps && (filled & (filled + 1)) != 0)
    return fmt::format("mask {:x} has gaps, and this CPU's masks may have none", bits);
  return "";
}

void add_cache_share(Draft& draft, std::vector<PlannedStep>& steps) {
  const std::vector<CacheShare>& shares = draft.spec.schedule.l3;
  if (shares.empty()) return;
  const CacheFacts& facts = draft.facts.cpu.schedule.l3;
  if (!facts.there || !draft.facts.root) {
    draft.problem(
        "schedule.l3",
        facts.there ? "making a cache group needs root"
                    : "this host cannot divide its L3 caches: there is no /sys/fs/resctrl/info/L3",
        "remove it; where the CPU can (`grep cat_l3 /proc/cpuinfo`), `mount -t resctrl resctrl /sys/fs/resctrl`");
    return;
  }
  draft.cache_group = "/sys/fs/resctrl/vmrun-" + draft.spec.name;
  steps.push_back({MakeGroup{draft.cache_group, false}, "the VM's own class of service", "spec schedule.l3"});
  const int width = (std::bit_width(facts.all) + 3) / 4;  // as the kernel pads it when it is read
  for (const CacheShare& share : shares) {
    if (const std::string why = why_no_share(facts, share); !why.empty())
      draft.problem("schedule.l3", why, "`cat /sys/fs/resctrl/schemata` shows what there is");
    const Word line{fmt::format("L3:{}={:x}", share.cache, share.ways),
                    fmt::format("{}={:0{}x}", share.cache, share.ways, width)};
    steps.push_back({ChangeFile{draft.cache_group + "/schemata", line}, "the ways of this L3 that the VM may fill",
                     "spec schedule.l3"});
  }
  draft.plan.groups.push_back(draft.cache_group);
}

}  // namespace

void add_shares(Draft& draft, std::vector<PlannedStep>& steps) {
  const ScheduleSpec& asked = draft.spec.schedule;
  if (asked.weight)
    steps.push_back(
        {ChangeFile{draft.cgroup + "/cpu.weight", Word{std::to_string(*asked.weight), std::to_string(*asked.weight)}},
         "its share where CPUs are wanted by several", "spec schedule.weight"});
  if (!asked.quota) return;
  const std::string quota = std::to_string(std::uint64_t{*asked.quota} * 1000);  // of a period of 100000 us
  steps.push_back({ChangeFile{draft.cgroup + "/cpu.max", Word{quota + " 100000", quota}},
                   "at most that much CPU time in each tenth of a second", "spec schedule.quota"});
  if (*asked.quota < draft.spec.cpu.count * 100 && draft.plan.pinned)
    draft.note("schedule.quota: when it is used up, all vCPUs stand still for the rest of the tenth of a second");
}

bool own_cpus(const Draft& draft) {
  const topology::Placement& placement = draft.plan.placement;
  return draft.plan.pinned && !placement.exclusive.empty() && !placement.exclusive.intersects(placement.emulator);
}

void add_schedule(Draft& draft) {
  add_vcpu_fifo(draft);
  add_iothread_fifo(draft);
  add_core_scheduling(draft);
  std::vector<PlannedStep> steps;
  add_host_tuning(draft, steps);
  add_cgroup(draft, steps);
  add_cache_share(draft, steps);
  draft.steps.insert(draft.steps.begin(), steps.begin(), steps.end());  // helpers are born in the cgroup, too
}

}  // namespace launcher::parts
