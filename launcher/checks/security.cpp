// What CPU vulnerabilities leave open between guests, and what their mitigations cost.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

const std::string vulnerabilities = "/sys/devices/system/cpu/vulnerabilities/";

bool holds(const std::string& text, const char* part) { return text.find(part) != text.npos; }

void smt_siblings(const Audit& audit, Findings& findings) {
  std::string names;
  for (const std::string& name : audit.sysfs().list(vulnerabilities)) {
    const std::string text = audit.text(vulnerabilities + name).value_or("");
    if (holds(text, "SMT vulnerable") || holds(text, "SMT Host state unknown"))
      names += (names.empty() ? "" : ", ") + name;
  }
  if (audit.sysfs().list(vulnerabilities).empty()) return;
  if (names.empty() || !audit.smt())
    findings.ok(audit.smt() ? "no vulnerability reaches over to a core's other thread" : "no core has two threads",
                {vulnerabilities});
  else
    findings.want(Level::warning, fmt::format("{}: a core's other thread can be spied on", names), {vulnerabilities},
                  "no two parties on one core",
                  "whole cores for each VM (vmrun gives no other), and the host's own tasks elsewhere",
                  boot_lasting("mitigations=auto,nosmt where guests trust nobody"));
}

void vulnerable(const Audit& audit, Findings& findings) {
  std::string open;
  const auto names = audit.sysfs().list(vulnerabilities);
  for (const std::string& name : names) {
    const std::string text = audit.text(vulnerabilities + name).value_or("");
    if (text.starts_with("Vulnerable") || text.starts_with("KVM: Vulnerable"))
      open += fmt::format("{}{} ({})", open.empty() ? "" : "; ", name, text);
  }
  if (names.empty()) return;
  if (open.empty()) {
    findings.ok("nothing is left open", {vulnerabilities});
    return;
  }
  if (audit.boot().has("mitigations", "off"))
    findings.want(Level::warning, "mitigations=off: " + open, {vulnerabilities, "/proc/cmdline"},
                  "mitigations, unless every guest and user may be trusted", "at the next boot",
                  "take mitigations=off off the kernel's command line");
  else
    findings.want(Level::warning, open, {vulnerabilities}, "microcode and kernel that close it", "see `microcode`",
                  audit.is_vm() ? "the host below has to pass the microcode's flags on"
                                : "the distribution's microcode package, and a reboot");
}

// Mitigations that are felt on every exit or switch.
void mitigation_cost(const Audit& audit, Findings& findings) {
  struct Costly {
    const char* file;
    const char* part;
    const char* what;
  };
  const Costly list[] = {
      {"l1tf", "cache flushes", "l1tf: the L1 is flushed at entries into a guest"},
      {"retbleed", "IBRS", "retbleed: IBRS at each entry into the kernel"},
      {"retbleed", "untrained return thunk", "retbleed: returns are untrained"},
      {"spec_rstack_overflow", "Safe RET", "spec_rstack_overflow: safe returns"},
      {"mds", "Clear CPU buffers", "mds: buffers are cleared at each exit to user or guest"},
      {"mmio_stale_data", "Clear CPU buffers", "mmio_stale_data: buffers are cleared"},
      {"gather_data_sampling", "Mitigation: Microcode", "gather_data_sampling: AVX gathers are slow"},
      {"spectre_v2", "IBPB: always-on", "spectre_v2: the branch predictor is flushed at each switch"}};
  std::string found;
  Findings::Paths paths;
  for (const Costly& item : list) {
    const std::string text = audit.text(vulnerabilities + item.file).value_or("");
    if (!holds(text, item.part) || text.starts_with("Vulnerable")) continue;
    found += (found.empty() ? "" : "; ") + std::string(item.what);
    paths.push_back(vulnerabilities + item.file);
  }
  if (audit.sysfs().list(vulnerabilities).empty()) return;
  if (found.empty())
    findings.ok("none that is felt at each exit", {vulnerabilities});
  else
    findings.want(Level::advice, found, paths,
                  "know that figures include this; off only where every guest and user may be trusted",
                  "per VM: fewer exits (pinning, posted interrupts, cpu-pm) cost fewer flushes",
                  boot_lasting("mitigations=off, only then"));
}

void microcode(const Audit& audit, Findings& findings) {
  const auto versions = audit.per_core("microcode/version");  // a core's threads share it
  if (versions.empty() || audit.is_vm()) {
    if (audit.is_vm())
      findings.leave("a virtual machine loads none", {"/sys/devices/system/cpu/cpu0/microcode"}, "the host below does");
    return;
  }
  const std::string path = "/sys/devices/system/cpu/cpu*/microcode/version";
  bool missing = false;
  for (const std::string& name : audit.sysfs().list(vulnerabilities))
    missing = missing || holds(audit.text(vulnerabilities + name).value_or(""), "no microcode");
  const auto kinds = audit.host().kinds();
  if (versions.size() > kinds)
    findings.want(Level::warning, fmt::format("{} versions at once", versions.size()), {path}, "one on all CPUs",
                  "reboot", "the distribution's microcode package, loaded by the initrd");
  else if (missing)
    findings.want(Level::warning,
                  fmt::format("{}, which lacks what a mitigation needs (\"no microcode\")", versions.begin()->first),
                  {path, vulnerabilities}, "the newest", "at the next boot",
                  "the distribution's microcode package, or newer firmware");
  else
    findings.ok(versions.begin()->first, {path});
}

void smt_on(const Audit& audit, Findings& findings) {
  const std::string path = "/sys/devices/system/cpu/smt/control";
  const auto control = audit.text(path);
  if (!control || audit.is_vm()) return;
  if (*control == "on")
    findings.ok("on", {path});
  else if (*control == "notsupported" || *control == "notimplemented")
    findings.leave(*control, {path},
                   "this CPU has no second threads, or the firmware has turned them off for good: if the CPU should "
                   "have them, enable \"Hyper-Threading\" there");
  else
    findings.want(Level::advice, *control, {path}, "on, unless guests that trust nobody share the machine",
                  *control == "forceoff" ? "at the next boot" : write_now("on", path),
                  *control == "forceoff" ? "take nosmt=force off the kernel's command line"
                                         : "take nosmt off the kernel's command line");
}

}  // namespace

std::vector<Check> security_checks() {
  return {
      {"smt", "security", "001 2.1 \"Hyper-Threading Tech\"", "a core's second thread is a third of a core more",
       "VMs that need throughput", "see `smt-siblings`", smt_on, concerns::every},
      {"smt-siblings", "security", "003 \"Case Study 3\"", "a buffer of the core is shared by both its threads",
       "VMs that trust neither each other nor the host's tasks", "half the CPUs, if SMT goes", smt_siblings,
       concerns::every},
      {"vulnerabilities", "security", "003 \"Case Study 3\"", "a guest may read what is not its own",
       "VMs that may not be trusted", "some speed", vulnerable, concerns::every},
      {"mitigation-cost", "security", "003 \"VM Exits\"", "they make each exit dearer than the guides' figures",
       "VMs with many exits", "isolation between guests", mitigation_cost, concerns::every},
      {"microcode", "security", "001 2", "mitigations and errata are fixed there", "every VM", "a reboot", microcode,
       concerns::every},
  };
}

}  // namespace launcher::checks
