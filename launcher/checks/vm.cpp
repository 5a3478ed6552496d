// With a spec: does the VM find its place here at all? What exactly does not fit is what `vmrun plan` prints.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

void fits(const Audit& audit, Findings& findings) {
  if (!audit.vm) return;
  if (audit.vm->placement) {
    std::string nodes;
    for (const unsigned node : audit.vm->nodes()) nodes += fmt::format("{}{}", nodes.empty() ? "" : ", ", node);
    const topology::CpuSet cpus = audit.vm->cpus();
    findings.ok(fmt::format("{}, node {}", cpus.empty() ? "not pinned" : "CPUs " + cpus.to_string(), nodes));
    return;
  }
  for (const Problem& problem : audit.vm->problems)
    findings
        .want(Level::problem, problem.what, {}, "a VM that fits",
              problem.help.empty() ? "change the spec" : problem.help)
        .subject = problem.key;
}

// Cores of the VM that it shares with the host's first, or with nobody: one vCPU on each thread, whole cores.
void whole_cores(const Audit& audit, Findings& findings) {
  if (!audit.vm || audit.vm->cpus().empty() || !audit.smt()) return;
  const topology::CpuSet cpus = audit.vm->cpus();
  topology::CpuSet siblings;
  for (const unsigned cpu : cpus.to_vector()) siblings |= audit.host().cpus_of_core(audit.host().pu(cpu)->core);
  siblings -= cpus | audit.vm->placement->exclusive;
  if (siblings.empty())
    findings.ok("it has whole cores", {"/sys/devices/system/cpu/cpu*/topology/thread_siblings_list"});
  else
    findings.want(Level::advice,
                  fmt::format("CPUs {} share its cores and stay with the host or other VMs", siblings.to_string()),
                  {"/sys/devices/system/cpu/cpu*/topology/thread_siblings_list"}, "whole cores",
                  "an even cpu.count with cpu.threads = 2, or the siblings kept idle");
}

}  // namespace

std::vector<Check> vm_checks() {
  return {
      {"fits", "vm", "002 \"NUMA-aware VM placement\", 001 3.2.1", "vmrun starts it nowhere else", "this VM", "", fits,
       concerns::every},
      {"whole-cores", "vm", "000 \"CPU pinning\"", "a task on the other thread takes up to half of the vCPU's core",
       "pinned VMs", "CPUs", whole_cores, concerns::pinned},
  };
}

}  // namespace launcher::checks
