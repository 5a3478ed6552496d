// The table of checks, and running it.
#include <fmt/format.h>

#include "launcher/checks/audit.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline checks {

std::vector<Check> all_checks() {
  std::vector<Check> all;
  for (const auto& topic :
       {vm_checks, firmware_checks, kvm_checks, power_checks, idle_checks, clock_checks, isolation_checks, stray_checks,
        numa_checks, memory_checks, pool_checks, network_checks, storage_checks, pci_checks, security_checks}) {
    const std::vector<Check> rows = topic();
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

std::vector<Finding> run_checks(const Audit& audit) {
  std::vector<Finding> all;
  for (const Check& check : all_checks()) {
    if (audit.vm && !check.concerns(*audit.vm)) continue;
    Findings findings;
    check.run(audit, findings);
    for (Finding& finding : findings.take()) {
      finding.check = check.name;
      finding.guide = check.guide;
      if (finding.matters.empty()) finding.matters = check.matters;
      if (finding.level != Level::ok) {
        if (finding.why.empty()) finding.why = check.why;
        if (finding.cost.empty()) finding.cost = check.cost;
      }
      // names of tasks, interfaces and files may hold anything
      for (std::string* text : {&finding.subject, &finding.found, &finding.wanted, &finding.now, &finding.lasting})
        *text = printable(*text);
      for (std::string& path : finding.read) path = printable(path);
      all.push_back(std::move(finding));
    }
  }
  return all;
}

std::string cpus_text(const topology::CpuSet& cpus) { return (cpus.size() == 1 ? "CPU " : "CPUs ") + cpus.to_string(); }

std::string sysctl_now(std::string_view key, std::string_view value) {
  return fmt::format("sysctl -w {}=\"{}\"", key, value);
}

std::string sysctl_lasting(std::string_view key, std::string_view value) {
  return fmt::format("`{} = {}` in /etc/sysctl.d/90-vmrun.conf", key, value);
}

std::string write_now(std::string_view value, std::string_view path) {
  const bool several = path.find('*') != path.npos;
  return several ? fmt::format("echo {} | tee {}", value, path) : fmt::format("echo {} > {}", value, path);
}

std::string write_lasting(std::string_view value, std::string_view path) {
  return fmt::format("`w {} - - - - {}` in /etc/tmpfiles.d/vmrun.conf", path, value);
}

std::string module_now(std::string_view module, std::string_view options) {
  return fmt::format("with no VM running: modprobe -r {0} && modprobe {0} {1}", module, options);
}

std::string module_lasting(std::string_view module, std::string_view options) {
  return fmt::format("`options {} {}` in /etc/modprobe.d/vmrun.conf", module, options);
}

std::string boot_lasting(std::string_view words) { return fmt::format("`{}` on the kernel's command line", words); }

std::string firmware_now(std::string_view item) {
  return fmt::format("not at run time: {} in the firmware's setup", item);
}

}  // namespace launcher::checks
