// What runs, or fires, on CPUs that are set aside: isolated ones, or the ones this VM gets.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/checks/concerns.hpp"
#include "topology/task_stat.hpp"
#include "topology/words.hpp"

namespace launcher::inline checks {

namespace {

using topology::CpuSet;
using topology::TaskStat;

// A VM's own threads are meant to be there.
bool belongs_to_vm(const TaskStat& task) {
  for (const char* start : {"qemu", "CPU ", "IO ", "vhost-", "kvm", "iou-wrk", "worker", "TC ", "vmrun", "call_rcu",
                            "cloud-hypervisor", "crosvm", "firecracker"})
    if (task.name.starts_with(start)) return true;
  return false;
}

// Tasks that are on the CPUs, could be elsewhere, and have run at all. A kernel thread that is bound to its CPU stays.
template <class Take>
void each_task(const topology::Sysfs& sysfs, const CpuSet& cpus, const Take& take) {
  const topology::Sysfs::Directory proc = sysfs.directory("/proc");
  const auto look = [&](const std::string& dir) -> std::optional<TaskStat> {
    const auto stat = proc.read(dir + "/stat");
    auto task = stat ? topology::parse_stat(*stat) : std::nullopt;
    if (task && cpus.contains(task->cpu) && !task->bound && !belongs_to_vm(*task)) take(*task);
    return task;
  };
  for (const std::string& pid : sysfs.list("/proc")) {
    if (!topology::number_of(pid)) continue;
    const auto task = look(pid);
    if (!task || task->threads < 2) continue;
    for (const std::string& tid : sysfs.list("/proc/" + pid + "/task"))
      if (tid != pid) look(fmt::format("{}/task/{}", pid, tid));
  }
}

void stray_tasks(const Audit& audit, Findings& findings) {
  const CpuSet owned = audit.owned();
  if (owned.empty()) return;
  std::map<std::string, CpuSet> strays;
  each_task(audit.sysfs(), owned, [&](const TaskStat& task) {
    const std::string name = task.kernel ? "[" + task.name + "]" : task.name;
    strays[name].add(task.cpu);
  });
  if (strays.empty()) {
    findings.ok("no foreign task on " + cpus_text(owned), {"/proc/*/stat"});
    return;
  }
  std::string names;
  std::size_t shown = 0;
  for (const auto& [name, cpus] : strays) {
    if (++shown > 8) break;
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", name, cpus.to_string());
  }
  if (strays.size() > shown) names += fmt::format(" and {} more", strays.size() - shown);
  const bool isolated = audit.isolated().contains(owned);
  findings
      .want(isolated ? Level::warning : Level::advice, names, {"/proc/*/stat"}, "no task there but the VM's",
            isolated
                ? "taskset -pc HOUSEKEEPING TID for each of them"
                : "systemctl set-property --runtime system.slice AllowedCPUs=HOUSEKEEPING (user.slice, init.scope too)",
            isolated ? "CPUAffinity= in the unit that starts it" : "the VM in a cpuset partition, or isolcpus")
      .subject = cpus_text(owned);
}

// "nvme0q3": the action's directory beside the number's files.
std::string action_of(const Audit& audit, const std::string& irq) {
  for (const std::string& name : audit.sysfs().list("/proc/irq/" + irq)) {
    if (audit.sysfs().is_directory(fmt::format("/proc/irq/{}/{}", irq, name))) return name;
  }
  return "";
}

void stray_irqs(const Audit& audit, Findings& findings) {
  const CpuSet owned = audit.owned();
  if (owned.empty()) return;
  std::map<std::string, CpuSet> strays;  // by what fires, without its number
  unsigned count = 0;
  for (const std::string& irq : audit.sysfs().list("/proc/irq")) {
    if (!topology::number_of(irq)) continue;
    const auto on = audit.cpu_list("/proc/irq/" + irq + "/effective_affinity_list");
    if (!on || !on->intersects(owned)) continue;
    std::string action = action_of(audit, irq);
    if (action.empty() || action.starts_with("vfio")) continue;  // nobody listens; or it is the VM's own
    while (!action.empty() && std::isdigit(static_cast<unsigned char>(action.back())) != 0) action.pop_back();
    strays[action] |= *on & owned;
    ++count;
  }
  const Findings::Paths paths = {"/proc/irq/*/effective_affinity_list"};
  if (strays.empty()) {
    findings.ok("no device's interrupt goes to " + cpus_text(owned), paths);
    return;
  }
  std::string names;
  for (const auto& [name, cpus] : strays)
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", name, cpus.to_string());
  const CpuSet keep = audit.host().all_cpus() - audit.isolated() - owned;
  findings
      .want(audit.isolated().contains(owned) ? Level::warning : Level::advice,
            fmt::format("{} interrupt{}: {}", count, count == 1 ? "" : "s", names), paths,
            fmt::format("CPUs {}", keep.empty() ? "of the host" : keep.to_string()),
            fmt::format("echo {} > /proc/irq/N/smp_affinity_list (EIO: the kernel manages a queue's interrupt itself)",
                        keep.empty() ? "LIST" : keep.to_string()),
            boot_lasting("isolcpus=domain,managed_irq,LIST irqaffinity=HOUSEKEEPING"))
      .subject = cpus_text(owned);
}

}  // namespace

std::vector<Check> stray_checks() {
  return {
      {"stray-tasks", "isolation", "002 \"Verifying CPU isolation\"",
       "a task that runs there takes the vCPU off its CPU", "pinned VMs where latency counts",
       "those tasks share the other CPUs", stray_tasks, concerns::pinned},
      {"stray-irqs", "isolation", "001 3.2.1 \"IRQ Affinity\", 002 \"Pinning rules\"",
       "each interrupt there takes the vCPU out of its guest", "pinned VMs where latency counts",
       "the other CPUs take them", stray_irqs, concerns::pinned},
  };
}

}  // namespace launcher::checks
