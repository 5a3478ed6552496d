// What KVM has and how it is set: extensions, nested paging, interrupts without exits, polling, huge pages for code.
#include <fmt/format.h>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

std::string parameter_path(const std::string& module, const char* name) {
  return fmt::format("/sys/module/{}/parameters/{}", module, name);
}

// What serves /dev/kvm, before everything else.
void virtualization(const Audit& audit, Findings& findings) {
  const std::string module = audit.kvm_module();
  if (!audit.flag("vmx") && !audit.flag("svm")) {
    const bool other = audit.exists("/dev/kvm");
    if (audit.is_vm())
      findings.want(Level::problem,
                    other ? "no VT-x and no SVM in this virtual machine; another KVM serves /dev/kvm, which may not "
                            "run ordinary guests"
                          : "no VT-x and no SVM in this virtual machine",
                    {"/proc/cpuinfo"}, "vmx or svm among the CPU's flags",
                    "on the host below: nested virtualization on, and this machine's CPU model with vmx or svm");
    else
      findings.want(Level::problem, "the CPU shows no VT-x and no SVM", {"/proc/cpuinfo"},
                    "vmx or svm among the CPU's flags",
                    firmware_now("\"Intel Virtualization Technology\" (or \"SVM Mode\") = Enabled"));
  } else if (module.empty()) {
    const char* wanted = audit.amd() ? "kvm_amd" : "kvm_intel";
    findings.want(
        Level::problem, fmt::format("the CPU can, but {} is not loaded", wanted), {"/sys/module"},
        fmt::format("{} loaded", wanted),
        fmt::format("modprobe {} (\"disabled by bios\" in the kernel's log: enable it in the firmware)", wanted),
        fmt::format("`{}` in /etc/modules-load.d/vmrun.conf", wanted));
  } else if (!audit.exists("/dev/kvm")) {
    findings.want(Level::problem, fmt::format("{} is loaded, but there is no /dev/kvm", module), {"/dev/kvm"},
                  "/dev/kvm", "mknod by udev: `udevadm trigger /sys/devices/virtual/misc/kvm`");
  } else {
    findings.ok(fmt::format("{} serves /dev/kvm", module), {"/proc/cpuinfo", "/sys/module/" + module, "/dev/kvm"});
  }
}

void ept(const Audit& audit, Findings& findings) {
  const std::string module = audit.kvm_module();
  if (module.empty()) return;
  const char* name = module == "kvm_amd" ? "npt" : "ept";
  const auto on = audit.switch_of(module, name);
  if (!on) return;
  const std::string path = parameter_path(module, name);
  if (*on)
    findings.ok(fmt::format("{} = Y: page tables of guests are walked by hardware", name), {path});
  else
    findings.want(Level::problem, fmt::format("{} = N: KVM keeps shadow page tables", name), {path},
                  fmt::format("{} = Y", name), module_now(module, fmt::format("{}=1", name)),
                  module_lasting(module, fmt::format("{}=1", name)));
}

void vpid(const Audit& audit, Findings& findings) {
  if (audit.kvm_module() != "kvm_intel") {
    if (!audit.kvm_module().empty()) findings.ok("SVM always tags the TLB with an ASID");
    return;
  }
  const auto on = audit.switch_of("kvm_intel", "vpid");
  if (!on) return;
  const std::string path = parameter_path("kvm_intel", "vpid");
  if (*on)
    findings.ok("vpid = Y", {path});
  else
    findings.want(Level::warning, "vpid = N: each exit and entry flushes the TLB", {path}, "vpid = Y",
                  module_now("kvm_intel", "vpid=1"), module_lasting("kvm_intel", "vpid=1"));
}

bool apicv_on(const Audit& audit) {
  const bool amd = audit.kvm_module() == "kvm_amd";
  return audit.switch_of(audit.kvm_module(), amd ? "avic" : "enable_apicv").value_or(false);
}

void apicv(const Audit& audit, Findings& findings) {
  const std::string module = audit.kvm_module();
  if (module.empty()) return;
  const char* name = module == "kvm_amd" ? "avic" : "enable_apicv";
  const auto on = audit.switch_of(module, name);
  if (!on) return;
  const std::string path = parameter_path(module, name);
  const bool unable = module == "kvm_amd" ? !audit.flag("avic") : audit.knows_vmx_flags() && !audit.vmx_flag("apicv");
  if (*on)
    findings.ok(fmt::format("{} = Y: interrupts reach a running vCPU without an exit", name), {path});
  else if (unable)
    findings.leave(fmt::format("{} = N", name), {path, "/proc/cpuinfo"}, "this CPU does not have it");
  else
    findings.want(Level::warning, fmt::format("{} = N, though the CPU may have it", name), {path},
                  fmt::format("{} = Y", name), module_now(module, fmt::format("{}=1", name)),
                  module_lasting(module, fmt::format("{}=1", name)));
}

// Interrupts of passed-through devices, posted by the IOMMU. Intel: bit 59 of the capability register.
void posted_interrupts(const Audit& audit, Findings& findings) {
  if (audit.kvm_module().empty()) return;
  bool any = false, posts = true;
  std::vector<std::string> paths;
  for (const std::string& unit : audit.sysfs().list("/sys/class/iommu")) {
    const std::string path = fmt::format("/sys/class/iommu/{}/intel-iommu/cap", unit);
    const auto text = audit.text(path);
    if (!text) continue;
    any = true;
    paths = {path};
    posts = posts && (std::strtoull(text->c_str(), nullptr, 16) >> 59 & 1U) != 0;
  }
  if (audit.boot().has("intremap", "off") || audit.boot().has("intremap", "nopost") ||
      audit.boot().value("amd_iommu_intr").value_or("") == "legacy") {
    findings.want(Level::warning, "the kernel's command line turns interrupt remapping or posting off",
                  {"/proc/cmdline"}, "neither intremap=off, intremap=nopost nor amd_iommu_intr=legacy",
                  "at the next boot", "take those words off the kernel's command line");
  } else if (any && posts && apicv_on(audit)) {
    findings.ok("every IOMMU can post, and APICv is on", paths);
  } else if (any && posts) {
    findings.want(Level::advice, "the IOMMU can post interrupts, but APICv is off", paths, "APICv on (check `apicv`)",
                  module_now("kvm_intel", "enable_apicv=1"), module_lasting("kvm_intel", "enable_apicv=1"));
  } else if (any) {
    findings.leave("an IOMMU of this machine cannot post interrupts", paths, "its hardware lacks it; nothing to set");
  }
}

void nested(const Audit& audit, Findings& findings) {
  const std::string module = audit.kvm_module();
  const auto on = audit.switch_of(module, "nested");
  if (!on) return;
  const std::string path = parameter_path(module, "nested");
  if (!*on) {
    findings.ok("nested = N: no guest is offered virtualization of its own", {path});
  } else if (module == "kvm_amd" && apicv_on(audit)) {
    findings.want(Level::advice, "nested = 1 beside avic = 1: a guest that is shown SVM may lose AVIC", {path},
                  "nested = 0, unless a guest runs VMs itself; or a CPU model without svm",
                  module_now(module, "nested=0"), module_lasting(module, "nested=0"));
  } else {
    findings.want(Level::advice, "nested = Y: `-cpu host` hands virtualization on to guests", {path},
                  "nested = N, unless a guest runs VMs itself; or a CPU model without vmx and svm",
                  module_now(module, "nested=0"), module_lasting(module, "nested=0"));
  }
}

void ple(const Audit& audit, Findings& findings) {
  const std::string module = audit.kvm_module();
  if (module.empty()) return;
  const char* name = module == "kvm_amd" ? "pause_filter_count" : "ple_gap";
  const std::string path = parameter_path(module, name);
  const auto value = audit.number(path);
  if (!value) return;
  const std::string off = module == "kvm_amd" ? "pause_filter_count=0" : "ple_gap=0 ple_window=0";
  if (*value == 0)
    findings.ok("exiting on PAUSE loops is off", {path});
  else if (audit.vm && !audit.vm->pinned)
    findings.leave(fmt::format("{} = {}", name, *value), {path},
                   "this VM's vCPUs share CPUs: there the exit lets the holder of a spinlock run");
  else
    findings.want(Level::advice, fmt::format("{} = {}: a spinning vCPU exits though its CPU is its own", name, *value),
                  {path}, off, module_now(module, off), module_lasting(module, off));
}

void halt_poll(const Audit& audit, Findings& findings) {
  const std::string path = parameter_path("kvm", "halt_poll_ns"),
                    grow_path = parameter_path("kvm", "halt_poll_ns_grow");
  const auto value = audit.number(path);
  if (!value) return;
  if (*value == 0)
    findings.want(Level::advice, "halt_poll_ns = 0: every wakeup of a vCPU goes through the scheduler", {path},
                  "50000 to 200000", write_now("200000", path), module_lasting("kvm", "halt_poll_ns=200000"));
  else if (*value > 1'000'000)
    findings.want(Level::warning, fmt::format("halt_poll_ns = {}: an idle vCPU spins for over a millisecond", *value),
                  {path}, "50000 to 200000", write_now("200000", path), module_lasting("kvm", "halt_poll_ns=200000"));
  else
    findings.leave(fmt::format("halt_poll_ns = {}", *value), {path},
                   "whether less or more is better depends on the workload: measure with the VM, then change it");
  if (audit.number(grow_path) == 0U && *value != 0)
    findings.want(Level::advice, "halt_poll_ns_grow = 0: polling never starts", {grow_path}, "2",
                  write_now("2", grow_path), module_lasting("kvm", "halt_poll_ns_grow=2"));
}

// Three conditions: the timer may fire elsewhere (nohz_full, or pi_inject_timer), it can be injected without an exit
// (APICv), and the guest does not exit on HLT (cpu-pm). The third belongs to the VM.
void exitless_timer(const Audit& audit, Findings& findings) {
  const std::string module = audit.kvm_module();
  if (module.empty()) return;
  const std::string path = parameter_path("kvm", "pi_inject_timer");
  const auto value = audit.parameter("kvm", "pi_inject_timer");
  if (!value) return;
  const bool injects = value->starts_with('1') || value->starts_with('Y');
  const auto tickless = audit.cpu_list("/sys/devices/system/cpu/nohz_full").value_or(topology::CpuSet{});
  const Findings::Paths paths = {path, parameter_path(module, module == "kvm_amd" ? "avic" : "enable_apicv"),
                                 "/sys/devices/system/cpu/nohz_full"};
  if (!apicv_on(audit)) {
    if (tickless.empty())
      findings.leave(fmt::format("pi_inject_timer = {}, APICv off", *value), paths,
                     "without APICv each timer interrupt exits, whoever makes it fire");
    else
      findings.want(Level::warning, "nohz_full is set, but without APICv it gives no exitless timer", paths,
                    "APICv (check `apicv`)", module_now(module, module == "kvm_amd" ? "avic=1" : "enable_apicv=1"));
  } else if (!injects) {
    findings.want(Level::advice,
                  fmt::format("pi_inject_timer = {}: a guest's timer fires on its own CPU and makes it exit", *value),
                  paths, "pi_inject_timer = 1, housekeeping CPUs to fire it, and cpu-pm=on in the VM",
                  write_now("1", path), module_lasting("kvm", "pi_inject_timer=1"));
  } else {
    findings.leave(fmt::format("pi_inject_timer = {}, APICv on{}", *value, tickless.empty() ? "" : ", nohz_full set"),
                   paths,
                   "nohz_full alone does nothing: the third condition is cpu-pm=on in the VM (with CPUs of its own)");
  }
}

void nx_huge_pages(const Audit& audit, Findings& findings) {
  const std::string path = parameter_path("kvm", "nx_huge_pages"),
                    risk = "/sys/devices/system/cpu/vulnerabilities/itlb_multihit";
  const auto on = audit.switch_of("kvm", "nx_huge_pages");
  if (!on) return;
  const std::string word = audit.text(risk).value_or("");
  const bool safe = word.starts_with("Not affected");
  if (*on && safe)
    findings.want(Level::advice, "nx_huge_pages = Y, though this CPU has no iTLB multihit erratum", {path, risk}, "N",
                  write_now("N", path), module_lasting("kvm", "nx_huge_pages=N"));
  else if (*on)
    findings.want(
        Level::advice,
        "nx_huge_pages = Y: huge pages that hold code are split into 4K pages, and put together again once a minute",
        {path, risk}, "N, for guests that may be trusted", write_now("N", path),
        module_lasting("kvm", "nx_huge_pages=N"));
  else if (word.find("Vulnerable") != word.npos)
    findings.want(Level::warning,
                  "nx_huge_pages = N on a CPU with the iTLB multihit erratum: a guest can stop the machine",
                  {path, risk}, "Y, for guests that may not be trusted", write_now("Y", path),
                  module_lasting("kvm", "nx_huge_pages=Y"));
  else
    findings.ok("nx_huge_pages = N: huge pages stay whole", {path, risk});
}

}  // namespace

std::vector<Check> kvm_checks() {
  return {
      {"virtualization", "kvm", "001 2.1, 003 \"CPU optimization script\"",
       "without it QEMU emulates every instruction, ten to a hundred times slower", "every VM", "a reboot, at most",
       virtualization, concerns::every},
      {"ept", "kvm", "003 \"CPU optimization script\"",
       "shadow page tables make every change of a guest's page table an exit", "every VM under KVM",
       "all VMs must end first", ept, concerns::kvm},
      {"vpid", "kvm", "003 \"CPU optimization script\"", "TLB entries that survive an exit are the point of tagging",
       "every VM under KVM", "all VMs must end first", vpid, concerns::kvm},
      {"apicv", "kvm", "003 \"Posted Interrupts\", 001 3.2.7",
       "without it every interrupt costs an exit, and every end of one too", "VMs with much I/O, many IPIs or timers",
       "all VMs must end first", apicv, concerns::kvm},
      {"posted-interrupts", "kvm", "001 3.3.2, 003 \"Posted Interrupts\"",
       "a passed-through device's interrupts reach a running vCPU without an exit only when posted",
       "VMs with passed-through devices", "none at run time", posted_interrupts, concerns::passthrough},
      {"nested", "kvm", "003 \"CPU Feature Exposure\"", "what no guest uses is only surface to attack",
       "hosts whose guests run no VMs themselves", "guests can run no VMs", nested, concerns::kvm},
      {"ple", "kvm", "001 3.2.4", "with a CPU of its own, a vCPU that spins keeps nobody from running",
       "pinned VMs; where CPUs are overcommitted keep it", "VMs whose vCPUs share CPUs lose", ple, concerns::kvm},
      {"halt-poll", "kvm", "001 3.2.6",
       "polling for some microseconds saves the way through the scheduler when the wakeup comes soon",
       "VMs that wait for short, frequent events", "CPU time and power while polling; a sibling thread is slowed",
       halt_poll, concerns::kvm},
      {"exitless-timer", "kvm", "001 3.2.7", "programming and firing of a guest's timer are then done without exits",
       "pinned VMs with cpu-pm=on", "housekeeping CPUs fire the timers", exitless_timer, concerns::pinned_kvm},
      {"nx-huge-pages", "kvm", "003 \"Huge Pages\"", "code in split pages has the TLB reach of 4K pages",
       "VMs in huge pages with much code", "an untrusted guest may exploit CVE-2018-12207 where the CPU is affected",
       nx_huge_pages, concerns::kvm},
  };
}

}  // namespace launcher::checks
