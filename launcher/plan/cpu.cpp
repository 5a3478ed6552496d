// -cpu and -smp: the model, the features asked for, and what a guest with CPUs of its own is told. The rule: a feature is
// asked for only where the accelerator can give it, and what was asked for is read back before the guest runs.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/plan/parts.hpp"
#include "launcher/spec/read_spec.hpp"

namespace launcher::parts {

namespace {

bool known_feature(const Draft& draft, const std::string& name) {
  return draft.qemu.cpu_on.contains(name) || draft.qemu.cpu_off.contains(name);
}

// Why this accelerator cannot give the feature; "" if it can, or if only QEMU itself will tell.
std::string why_not_given(const Draft& draft, const std::string& name) {
  if (!draft.kvm()) {
    if (name.starts_with("kvm")) return "this VM is emulated (TCG), and that is a service of KVM";
    if (draft.qemu.cpu_on.contains(name)) return "";
    return fmt::format("QEMU {}'s emulation (TCG) does not have it", draft.qemu.version);
  }
  const auto& features = draft.facts.cpu.features;
  if (!features || features->contains(name)) return "";
  if (name == "topoext")
    return "";  // model "host" leaves it off, and QEMU gives it under every KVM (kvm_arch_get_supported_cpuid)
  constexpr unsigned mwait = 1;  // KVM_CAP_X86_DISABLE_EXITS
  if (name == "monitor" && draft.spec.cpu.pm && (draft.facts.cpu.disable_exits.value_or(mwait) & mwait) != 0) return "";
  return fmt::format("neither this host's CPU nor its KVM can give it to a guest ({})",
                     draft.host.cpu_model.empty() ? "model unknown" : draft.host.cpu_model);
}

void refuse_unknown(Draft& draft, const std::string& key, const std::string& name) {
  std::vector<std::string> all(draft.qemu.cpu_on.begin(), draft.qemu.cpu_on.end());
  all.insert(all.end(), draft.qemu.cpu_off.begin(), draft.qemu.cpu_off.end());
  const std::string near = closest(name, all);
  draft.problem(key, fmt::format("QEMU {} knows no CPU feature \"{}\"", draft.qemu.version, name),
                near.empty() ? "`qemu-system-x86_64 -cpu help` lists them" : fmt::format("did you mean \"{}\"?", near));
}

// Features of one list, in the spec's order; one that an earlier list has is not set again.
void add_list(Draft& draft, Opts& cpu, const char* key, const std::vector<std::string>& names, bool on) {
  std::vector<CpuFeature>& all = draft.plan.features;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const CpuFeature feature{names[i], on};
    if (std::find(all.begin(), all.end(), feature) != all.end()) continue;
    const std::string at = fmt::format("cpu.{}[{}]", key, i);
    if (!draft.qemu.cpu_on.empty() && !known_feature(draft, names[i])) {
      refuse_unknown(draft, at, names[i]);
    } else if (const std::string why = on ? why_not_given(draft, names[i]) : ""; !why.empty()) {
      draft.problem(at, fmt::format("\"{}\" cannot be had: {}", names[i], why),
                    draft.kvm() ? "leave it out, or run this VM on a host that has it"
                                : "leave it out, or set accel = \"kvm\" on a host that has it");
    } else {
      cpu.set(names[i], on);
      all.push_back(feature);
    }
  }
}

void add_features(Draft& draft, Opts& cpu, std::vector<std::string>& why) {
  const CpuSpec& asked = draft.spec.cpu;
  const std::size_t before = draft.plan.features.size();
  add_list(draft, cpu, "add", asked.add, true);
  add_list(draft, cpu, "require", asked.require, true);
  add_list(draft, cpu, "remove", asked.remove, false);
  const std::size_t count = draft.plan.features.size() - before;
  if (count > 0)
    why.push_back(fmt::format("{} feature{} as asked, read back before the guest runs", count, count == 1 ? "" : "s"));
  if (draft.kvm() && !draft.facts.cpu.features && asked.add.size() + asked.require.size() > 0)
    draft.note(
        fmt::format("cpu.{}: whether this host can give them is not known here{}; vCPU 0 is asked before the guest "
                    "runs",
                    asked.add.empty() ? "require" : "add",
                    draft.facts.cpu.features_why.empty() ? "" : " (" + draft.facts.cpu.features_why + ")"));
}

void add_nested(Draft& draft, Opts& cpu, std::vector<std::string>& why) {
  const OrAuto<bool>& nested = draft.spec.cpu.nested;
  if (!nested) return;
  // QEMU emulates AMD's extensions whatever the host is
  const std::string name = !draft.kvm() || draft.host.is_amd() ? "svm" : "vmx";
  if (*nested && draft.kvm() && !draft.facts.cpu.nested) {
    const std::string module = name == "svm" ? "kvm_amd" : "kvm_intel";
    draft.problem("cpu.nested", fmt::format("true, but {} was loaded without nested virtualization", module),
                  fmt::format("load it so: `modprobe -r {0} && modprobe {0} nested=1`", module));
    return;
  }
  cpu.set(name, *nested);
  draft.plan.features.push_back({name, *nested});
  why.push_back(*nested ? "virtual machines of its own" : "no virtual machines of its own");
}

// A key that only KVM can serve. False: it was refused, or is not asked for.
bool kvm_switch(Draft& draft, const char* key, const OrAuto<bool>& asked) {
  if (!asked) return false;
  if (*asked && !draft.kvm())
    draft.problem(fmt::format("cpu.{}", key), "true, but this VM is emulated (TCG); wanted KVM",
                  "remove it, or set accel = \"kvm\"");
  return draft.kvm();
}

void add_hints(Draft& draft, Opts& cpu, std::vector<std::string>& why) {
  const CpuSpec& asked = draft.spec.cpu;
  if (kvm_switch(draft, "dedicated", asked.dedicated) || (draft.kvm() && !asked.dedicated && own_cpus(draft))) {
    const bool on = asked.dedicated.value_or(true);
    cpu.set("kvm-hint-dedicated", on);
    if (on) why.push_back("told that its CPUs are its own");
    if (on && !own_cpus(draft))
      draft.note(
          "cpu.dedicated: the guest is told that its CPUs are its own, which they are not: it will spin where it "
          "should "
          "let others run");
  }
  if (kvm_switch(draft, "poll_control", asked.poll_control)) {
    cpu.set("kvm-poll-control", *asked.poll_control);
    draft.plan.features.push_back({"kvm-poll-control", *asked.poll_control});
  }
  if (kvm_switch(draft, "pmu", asked.pmu)) {
    cpu.set("pmu", *asked.pmu);
    why.push_back(*asked.pmu ? "with performance counters" : "without performance counters");
  }
  if (kvm_switch(draft, "host_caches", asked.host_caches)) {
    cpu.set("host-cache-info", *asked.host_caches);
    if (*asked.host_caches) why.push_back("told the sizes of the host's caches");
  }
}

void check_model(Draft& draft, const std::string& model) {
  const QemuFeatures& qemu = draft.qemu;
  if (qemu.cpu_models.empty()) return;
  if (!qemu.cpu_models.contains(model)) {
    const bool is_hosts = model.starts_with("host") || model == "passthrough" || model == "native";
    const std::string near =
        is_hosts ? "host" : closest(model, {qemu.cpu_models.begin(), qemu.cpu_models.end()});  // libvirt's words for it
    draft.problem("cpu.model", fmt::format("QEMU {} has no CPU model \"{}\"", qemu.version, model),
                  near.empty() ? "`qemu-system-x86_64 -cpu help` lists them; features go into cpu.add and cpu.remove"
                               : fmt::format("did you mean \"{}\"?", near));
  } else if (qemu.deprecated_cpu_models.contains(model)) {
    draft.note(fmt::format("cpu.model: {} is deprecated in QEMU {} and will go", model, qemu.version));
  }
}

// The guest's HLT, MWAIT and PAUSE stay in the guest: its CPUs look busy to the host at all times.
void check_pm(Draft& draft) {
  if (!draft.spec.cpu.pm) return;
  constexpr unsigned mwait = 1, hlt = 2;  // KVM_CAP_X86_DISABLE_EXITS
  if (!draft.kvm())
    draft.problem("cpu.pm", "true, but this VM is emulated (TCG); wanted KVM", "remove it, or set accel = \"kvm\"");
  else if (!own_cpus(draft))
    draft.problem("cpu.pm",
                  "true, but the vCPUs share their CPUs; wanted CPUs of their own: an idle vCPU would keep all others "
                  "from running",
                  own_cpus_by_auto(draft) ? "set pin = \"auto\" and emulator = \"auto\", or remove pm"
                                          : "remove pm: this host has no CPU left for QEMU's own threads");
  else if (draft.facts.cpu.disable_exits && (*draft.facts.cpu.disable_exits & (mwait | hlt)) == 0)
    draft.problem("cpu.pm", "true, but this host's KVM cannot leave HLT and MWAIT to the guest", "remove pm");
  else if (draft.facts.cpu.disable_exits && (*draft.facts.cpu.disable_exits & mwait) == 0)
    draft.note("cpu.pm: HLT and PAUSE stay in the guest, MWAIT does not exist there: this host's cannot be given away");
}

}  // namespace

void add_cpu(Draft& draft) {
  const topology::GuestTopology& guest = draft.plan.placement.guest;
  const std::string model = draft.spec.cpu.model.value_or(draft.kvm() ? "host" : "max");
  check_model(draft, model);
  Opts cpu(model);
  std::vector<std::string> why = {draft.kvm() && model == "host" ? "every feature of this CPU"
                                                                 : "the CPU the guest sees"};
  add_tsc(draft, cpu, model, why);
  add_hints(draft, cpu, why);
  add_shape(draft, cpu, model, why);
  add_phys_bits(draft, cpu, model, why);
  add_nested(draft, cpu, why);
  add_features(draft, cpu, why);
  add_hyperv(draft, cpu, why);
  check_pm(draft);
  draft.args.add("-cpu", cpu, fmt::format("{}", fmt::join(why, ", ")),
                 draft.spec.cpu.model ? "spec cpu.model" : "guide 004");
  draft.args.add("-smp",
                 Opts(std::to_string(draft.spec.cpu.count))
                     .set("sockets", guest.sockets)
                     .set("dies", guest.dies)
                     .set("cores", guest.cores)
                     .set("threads", guest.threads)
                     .set("maxcpus", draft.spec.cpu.count),
                 draft.plan.pinned ? "mirrors the host's cores under the vCPUs" : "every level written out",
                 "spec cpu.count");
}

// One -overcommit: before QEMU 9 a second one takes back what the first said.
void add_overcommit(Draft& draft) {
  const MemorySpec::Lock lock = draft.spec.memory.lock;
  if (lock == MemorySpec::Lock::off && !draft.spec.cpu.pm) return;
  Opts overcommit;
  std::string why;
  if (lock == MemorySpec::Lock::on) overcommit.set("mem-lock", true), why = "never swapped";
  if (lock == MemorySpec::Lock::on_fault)
    overcommit.set("mem-lock", "on-fault"), why = "never swapped once it is touched";
  if (draft.spec.cpu.pm)
    overcommit.set("cpu-pm", true),
        why += fmt::format("{}idle vCPUs stay in the guest and keep their CPU", why.empty() ? "" : "; ");
  draft.args.add("-overcommit", overcommit, why, draft.spec.cpu.pm ? "spec cpu.pm" : "spec memory.lock");
}

}  // namespace launcher::parts
