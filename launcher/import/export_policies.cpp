// Keys of what vmrun does by itself, at each start or while the guest runs: no domain and no script has a word for them.
#include <fmt/format.h>

#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

void cpu_keys(Domain& to) {
  const CpuSpec& cpu = to.spec.cpu;
  if (cpu.pm) to.row("cpu.pm", Verb::dropped, "libvirt has no key for -overcommit cpu-pm: an idle vCPU leaves its CPU");
  for (const auto& [key, level] : {std::pair("l1", cpu.l1), std::pair("l2", cpu.l2), std::pair("l3", cpu.l3)})
    if (level) to.row(fmt::format("cpu.{}", key), Verb::dropped, "QEMU's own: libvirt has no key for smp-cache");
  if (to.spec.hyperv.spinlocks && *to.spec.hyperv.spinlocks < 4095)
    to.row("hyperv.spinlocks", Verb::changed, "4095, the least that libvirt takes");
}

}  // namespace

// Of both, a domain and a script.
void report_policies(const Spec& spec, const LaunchPlan& plan, Report& report) {
  const auto row = [&](const char* key, Verb verb, const char* words) { report.push_back({key, 0, "", verb, words}); };
  const char* chosen = "what it came to now: nobody chooses anew at a start";
  const CpuSpec& cpu = spec.cpu;
  if (cpu.pin == topology::Pinning::automatic && plan.pinned) row("cpu.pin", Verb::changed, chosen);
  if (cpu.kind != topology::CpuKindChoice::automatic) row("cpu.kind", Verb::changed, chosen);
  if (cpu.host_l3 || cpu.largest_l3) row("cpu.host_l3", Verb::changed, chosen);
  if (cpu.siblings == topology::Siblings::isolate)
    row("cpu.siblings", Verb::dropped, "other guests and tasks may run on the siblings");
  if (cpu.siblings == topology::Siblings::require) row("cpu.siblings", Verb::changed, chosen);
  if (spec.schedule.core) row("schedule.core", Verb::dropped, "no core scheduling");
  const ReadySpec& ready = spec.ready;
  if (ready.by != ReadySpec::By::launch)
    row("ready", Verb::dropped, "nothing waits for the guest: it is started, and that is all");
  if (!ready.pattern.empty()) row("ready_pattern", Verb::dropped, "nothing waits for the guest");
  if (ready.timeout != ReadySpec{}.timeout) row("ready_timeout", Verb::dropped, "nothing waits for the guest");
}

void export_policies(Domain& to) {
  cpu_keys(to);
  report_policies(to.spec, to.plan, to.report);
}

}  // namespace launcher::import
