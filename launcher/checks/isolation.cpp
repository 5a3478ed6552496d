// CPUs kept from the scheduler, the tick, RCU and interrupts at boot: what is set, and what contradicts what.
#include <fmt/format.h>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

using topology::CpuSet;

const std::string isolated_path = "/sys/devices/system/cpu/isolated";
const std::string nohz_path = "/sys/devices/system/cpu/nohz_full";

std::string list(const CpuSet& cpus) { return cpus.empty() ? "none" : cpus.to_string(); }

// Whole cores beside the housekeeping ones: what could be isolated here. "" on a machine too small for it.
CpuSet could_be_isolated(const Audit& audit) {
  const CpuSet housekeeping = topology::default_housekeeping(audit.host());
  return housekeeping.empty() ? CpuSet{} : audit.host().all_cpus() - housekeeping;
}

void isolcpus(const Audit& audit, Findings& findings) {
  const CpuSet isolated = audit.isolated();
  const auto asked = audit.boot().cpus("isolcpus");
  if (isolated.empty() && asked && !asked->empty()) {
    findings.want(Level::warning, fmt::format("isolcpus={} was given, but no CPU is isolated", asked->to_string()),
                  {"/proc/cmdline", isolated_path}, "CPUs that exist, after flags that the kernel knows",
                  "at the next boot: see \"isolcpus\" in the kernel's log",
                  boot_lasting("isolcpus=domain,managed_irq,..."));
  } else if (isolated.empty()) {
    const CpuSet possible = could_be_isolated(audit);
    if (possible.empty())
      findings.leave("no CPU is isolated", {isolated_path}, "this machine is too small to give CPUs away");
    else if (audit.vm && !audit.vm->pinned)
      findings.leave("no CPU is isolated", {isolated_path},
                     "this VM's vCPUs are not pinned, and the scheduler balances nothing on isolated CPUs");
    else
      findings.want(Level::advice, "no CPU is isolated: any task may run beside a pinned vCPU", {isolated_path},
                    "the VMs' CPUs isolated, or kept free of tasks by cgroups while a VM runs",
                    "not at run time; cpuset partitions (isolated) do it without a boot",
                    boot_lasting(fmt::format("isolcpus=domain,managed_irq,{0} nohz_full={0} rcu_nocbs={0}",
                                             possible.to_string())));
  } else if (audit.vm && audit.vm->pinned && !isolated.contains(audit.cpus()) && audit.vm->placement) {
    findings.want(
        Level::advice, fmt::format("isolated: {}; this VM is on {}", cpus_text(isolated), cpus_text(audit.cpus())),
        {isolated_path}, "this VM on isolated CPUs", fmt::format("cpu.pin = \"{}\" in its spec", isolated.to_string()));
  } else {
    findings.leave(
        cpus_text(isolated), {isolated_path},
        "nothing balances there: a thread allowed on several of them stays on the first, so vmrun pins one to one");
  }
}

void nohz_full(const Audit& audit, Findings& findings) {
  const CpuSet isolated = audit.isolated();
  const auto tickless = audit.cpu_list(nohz_path);
  const auto asked = audit.boot().value("nohz_full");
  if (asked && (!tickless || tickless->empty())) {
    findings.want(Level::warning, fmt::format("nohz_full={} was given, but no CPU is tickless", *asked),
                  {"/proc/cmdline", nohz_path}, "a kernel with CONFIG_NO_HZ_FULL",
                  "boot another kernel (several distributions build without it)");
    return;
  }
  const CpuSet cpus = tickless.value_or(CpuSet{});
  if (cpus.empty() && isolated.empty()) {
    findings.leave("no tickless CPU, none isolated", {nohz_path},
                   "the tick goes away only where one task runs, so isolation comes first");
  } else if (!isolated.contains(cpus)) {
    findings
        .want(Level::warning, fmt::format("tickless but not isolated: {}", cpus_text(cpus - isolated)),
              {nohz_path, isolated_path}, "the same CPUs in isolcpus and nohz_full", "at the next boot",
              boot_lasting(fmt::format("isolcpus=domain,managed_irq,{0} nohz_full={0}", cpus.to_string())))
        .why = "two tasks on a CPU bring its tick back, and each kernel entry there costs more";
  } else if (!cpus.contains(isolated)) {
    findings.want(Level::advice, fmt::format("isolated, with their tick: {}", cpus_text(isolated - cpus)),
                  {nohz_path, isolated_path}, "the same CPUs in isolcpus and nohz_full", "at the next boot",
                  boot_lasting(fmt::format("nohz_full={}", isolated.to_string())));
  } else {
    findings.ok(cpus_text(cpus), {nohz_path});
  }
}

void rcu_nocbs(const Audit& audit, Findings& findings) {
  const CpuSet isolated = audit.isolated();
  if (isolated.empty()) {
    if (audit.boot().has("rcu_nocbs"))
      findings
          .want(Level::advice, "rcu_nocbs without isolated CPUs", {"/proc/cmdline"},
                "the same CPUs in isolcpus, or no rcu_nocbs", "at the next boot",
                "take rcu_nocbs off the kernel's command line")
          .why = "callbacks are moved away from CPUs on which anything else may run";
    return;
  }
  const auto asked = audit.boot().value("rcu_nocbs");
  const auto given = audit.boot().cpus("rcu_nocbs");
  const CpuSet tickless = audit.cpu_list(nohz_path).value_or(CpuSet{});
  const CpuSet offloaded = given.value_or(asked == "all" ? audit.host().all_cpus() : CpuSet{}) | tickless;
  if (!offloaded.contains(isolated))
    findings.want(Level::advice, fmt::format("RCU callbacks run on isolated {}", cpus_text(isolated - offloaded)),
                  {"/proc/cmdline", isolated_path}, "rcu_nocbs for every isolated CPU", "at the next boot",
                  boot_lasting(fmt::format("rcu_nocbs={}", isolated.to_string())));
  else if (!asked)
    findings.leave("no rcu_nocbs", {"/proc/cmdline", nohz_path}, "nohz_full takes these CPUs' callbacks away as well");
  else
    findings.ok(fmt::format("rcu_nocbs={}", *asked), {"/proc/cmdline"});
}

// What isolcpus, nohz_full and rcu_nocbs leave to the host.
void housekeeping(const Audit& audit, Findings& findings) {
  const CpuSet isolated = audit.isolated() | audit.cpu_list(nohz_path).value_or(CpuSet{});
  if (isolated.empty()) return;
  bool whole = false;
  for (const topology::Node& node : audit.host().nodes) {
    const CpuSet here = audit.host().cpus_of_node(node.id);
    if (here.empty() || !isolated.contains(here)) continue;
    whole = true;
    findings
        .want(Level::warning, "all of its CPUs are isolated", {isolated_path, nohz_path},
              "one core that does the node's housekeeping", "at the next boot",
              boot_lasting(fmt::format("isolcpus and nohz_full without CPUs {}",
                                       audit.host().cpus_of_core(audit.host().pu(here.first())->core).to_string())))
        .subject = fmt::format("node {}", node.id);
  }
  if (!whole)
    findings.ok(fmt::format("CPUs {} keep house, some on each node", (audit.host().all_cpus() - isolated).to_string()),
                {isolated_path, nohz_path});
}

void isolated_siblings(const Audit& audit, Findings& findings) {
  const CpuSet isolated = audit.isolated();
  if (isolated.empty() || !audit.smt()) return;
  CpuSet split;
  for (const unsigned cpu : isolated.to_vector()) {
    if (const topology::Pu* pu = audit.host().pu(cpu)) split |= audit.host().cpus_of_core(pu->core) - isolated;
  }
  if (split.empty())
    findings.ok("whole cores are isolated", {isolated_path});
  else
    findings.want(Level::warning,
                  fmt::format("not isolated, beside an isolated CPU of the same core: {}", cpus_text(split)),
                  {isolated_path}, "both threads of a core isolated, or none", "at the next boot",
                  boot_lasting(fmt::format("isolcpus={}", (isolated | split).to_string())));
}

void irq_affinity(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/irq/default_smp_affinity";
  const auto allowed = audit.cpu_mask(path);
  const CpuSet owned = audit.owned();
  if (!allowed || owned.empty()) return;
  const CpuSet keep = audit.host().all_cpus() - audit.isolated() - owned;
  if (!allowed->intersects(owned))
    findings.ok("new interrupts go to " + cpus_text(*allowed & audit.host().all_cpus()), {path});
  else
    findings.want(Level::advice, "new interrupts may go to " + cpus_text(*allowed & owned), {path},
                  fmt::format("CPUs {}", list(keep)), fmt::format("write the mask of CPUs {} to {}", list(keep), path),
                  boot_lasting(fmt::format("irqaffinity={}", list(keep))));
}

void workqueues(const Audit& audit, Findings& findings) {
  const std::string path = "/sys/devices/virtual/workqueue/cpumask";
  const auto allowed = audit.cpu_mask(path);
  const CpuSet owned = audit.owned();
  if (!allowed || owned.empty()) return;
  const CpuSet keep = audit.host().all_cpus() - audit.isolated() - owned;
  if (!allowed->intersects(owned))
    findings.ok("unbound kernel work runs on " + cpus_text(*allowed & audit.host().all_cpus()), {path});
  else
    findings.want(Level::advice, "unbound kernel work may run on " + cpus_text(*allowed & owned), {path},
                  fmt::format("CPUs {}", list(keep)), fmt::format("write the mask of CPUs {} to {}", list(keep), path),
                  boot_lasting("isolcpus=domain,... (the kernel then does it), or workqueue.unbound_cpus="));
}

void tuned(const Audit& audit, Findings& findings) {
  const std::string path = "/etc/tuned/active_profile";
  const auto profile = audit.text(path);
  if (!profile || !audit.service_runs("tuned")) {
    findings.leave("tuned does not run", {path},
                   "nothing here needs it: every setting that a profile makes has a check of its own");
    return;
  }
  for (const char* good : {"virtual-host", "cpu-partitioning", "realtime-virtual-host", "latency-performance",
                           "throughput-performance", "network-latency", "network-throughput"}) {
    if (profile->starts_with(good)) {
      findings.ok(*profile, {path});
      return;
    }
  }
  findings.want(Level::advice, fmt::format("profile {}", *profile), {path},
                "virtual-host, or cpu-partitioning where CPUs are isolated", "tuned-adm profile virtual-host",
                "tuned keeps its profile over a boot");
}

void irqbalance(const Audit& audit, Findings& findings) {
  const Findings::Paths paths = {"/sys/fs/cgroup/system.slice/irqbalance.service/cgroup.procs"};
  const CpuSet owned = audit.owned();
  if (!audit.service_runs("irqbalance")) {
    findings.ok("irqbalance does not run: interrupts stay where they were put", paths);
  } else if (owned.empty()) {
    findings.ok("irqbalance runs, and no CPU is set aside", paths);
  } else if (audit.isolated().contains(owned)) {
    findings.leave("irqbalance runs", paths, "it keeps away from isolated and tickless CPUs by itself");
  } else {
    findings.want(Level::advice, "irqbalance runs and may move interrupts to " + cpus_text(owned - audit.isolated()),
                  paths, "those CPUs banned",
                  "irqbalance's socket takes `settings cpus LIST`; or stop it while the VM runs",
                  fmt::format("IRQBALANCE_BANNED_CPULIST={} in /etc/default/irqbalance", owned.to_string()));
  }
}

}  // namespace

std::vector<Check> isolation_checks() {
  return {
      {"isolcpus", "isolation", "002 \"CPU isolation with isolcpus\", 003 \"CPU optimization script\"",
       "pinning a vCPU keeps it there, but keeps nobody else away", "pinned VMs where latency counts",
       "those CPUs do nothing else, and nothing balances on them", isolcpus, concerns::every},
      {"nohz-full", "isolation", "002 \"Kernel command line parameters\", 001 3.2.7",
       "the tick interrupts the guest up to a thousand times a second", "pinned VMs where latency counts",
       "each entry into the kernel on those CPUs gets dearer", nohz_full, concerns::pinned},
      {"rcu-nocbs", "isolation", "002 \"Kernel command line parameters\"",
       "RCU's callbacks would run in the guest's time", "pinned VMs where latency counts",
       "threads on the housekeeping CPUs", rcu_nocbs, concerns::pinned},
      {"housekeeping", "isolation", "001 3.2.7, 002 \"Pinning rules\"",
       "timers, workqueues, RCU and QEMU's own threads of that node have to run somewhere near", "pinned VMs",
       "one core of the node", housekeeping, concerns::pinned},
      {"isolated-siblings", "isolation", "000 \"CPU pinning\", 002 \"Pinning rules\"",
       "a task on the sibling halves what the isolated thread gets", "pinned VMs", "more CPUs set aside",
       isolated_siblings, concerns::pinned},
      {"irq-affinity", "isolation", "001 3.2.1 \"IRQ Affinity\", 002 \"Pinning rules\"",
       "a device that appears later puts its interrupts there", "pinned VMs", "the other CPUs take more interrupts",
       irq_affinity, concerns::pinned},
      {"workqueues", "isolation", "001 3.2.7", "unbound work is housekeeping", "pinned VMs",
       "the other CPUs do that work", workqueues, concerns::pinned},
      {"tuned", "isolation", "002 \"tuned profiles for virtualization hosts\"",
       "a profile for other machines works against most of what is checked here", "every VM", "power", tuned,
       concerns::every},
      {"irqbalance", "isolation", "001 3.2.1 \"IRQ Affinity\"", "each interrupt there takes the vCPU out of its guest",
       "pinned VMs", "interrupts are spread over fewer CPUs", irqbalance, concerns::pinned},
  };
}

}  // namespace launcher::checks
