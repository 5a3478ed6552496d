// The guest's CPU: its model, features, shape and caches, and the features of board and KVM that QEMU has among those of the CPU.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/walk.hpp"
#include "launcher/spec/cpu_spec.hpp"
#include "launcher/spec/rules.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

// A feature that is a key of its own here; false: it is none.
bool own_feature(Walk& walk, const std::string& name, bool on) {
  if (name == "vmx" || name == "svm")
    walk.spec.flag("cpu", "nested", on);
  else if (name == "invtsc")
    walk.spec.flag("clock", "invtsc", on);
  else if (name == "kvmclock")
    walk.spec.flag("clock", "kvmclock", on);
  else
    return false;
  return true;
}

// What libvirt knows of CPUs and QEMU does not (ignoredFeatures in qemu_capabilities.c), or no longer does.
constexpr std::string_view never_qemus[] = {"cmt",    "mbm_total",  "mbm_local",  "osxsave",
                                            "ospke",  "vmx-ept-uc", "vmx-ept-wb", "vmx-invvpid-single-context",
                                            "pconfig"};

// vmx and svm are one key; where both stand there, what is on decides.
bool other_on(Walk& walk, const std::string& name) {
  const std::string_view other = name == "vmx" ? "svm" : "vmx";
  const auto all = walk.root.find("cpu")->all("feature");
  return (name == "vmx" || name == "svm") && std::ranges::any_of(all, [&](const XmlElement* one) {
           const Leaf policy = walk.at(*one, "@policy");
           return walk.at(*one, "@name").is(other) && !policy.is("disable") && !policy.is("forbid") &&
                  !policy.is("optional");
         });
}

void feature(Walk& walk, const XmlElement& element, bool of_host) {
  const Leaf name = walk.at(element, "@name"), policy = walk.at(element, "@policy");
  const auto tell = [&](Verb verb, const std::string& words) {
    name.tell(verb, words);
    policy.tell(verb, words);
  };
  const bool off = policy.is("disable") || policy.is("forbid");
  const std::string text = lowered(name.value());
  if (policy.is("optional") && of_host) return tell(Verb::kept, "the host's model has it where the host has");
  if (std::ranges::find(never_qemus, text) != std::end(never_qemus))
    return tell(Verb::kept, "nothing: no QEMU knows it, and libvirt leaves it out");
  if (policy.is("optional"))
    return tell(Verb::dropped, "off: vmrun gives a feature or refuses the VM; cpu.add has those that must be there");
  if (off && other_on(walk, text)) return tell(Verb::kept, "cpu.nested = true is the other vendor's");
  if (own_feature(walk, text, !off))
    return tell(Verb::kept, text == "vmx" || text == "svm" ? "cpu.nested" : "clock." + text);
  const std::string list = off ? "remove" : policy.is("force") || !policy.there() ? "add" : "require";
  walk.spec.add_to_list("cpu", list, text);
  if (policy.is("forbid")) return tell(Verb::changed, "cpu.remove: the VM is not refused on a host that has it");
  tell(Verb::kept, "cpu." + list);
}

void model_of(Walk& walk, const XmlElement& cpu) {
  const Leaf mode = walk.at(cpu, "@mode"), model = walk.at(cpu, "model");
  if (mode.is("host-passthrough") || mode.is("maximum")) {
    walk.spec.text("cpu", "model", mode.is("maximum") || walk.tcg ? "max" : "host");
    mode.kept("cpu.model");
  } else if (mode.is("host-model")) {
    walk.spec.text("cpu", "model", walk.tcg ? "max" : "host", "was libvirt's host-model");
    mode.tell(Verb::changed,
              "cpu.model = \"host\": the guest sees this host's CPU itself, not the nearest named model");
    model.tell(Verb::changed, "cpu.model = \"host\" in its place");
  } else if (!model.value().empty()) {
    walk.spec.text("cpu", "model", model.value());
    mode.kept("cpu.model");
    model.kept("cpu.model");
  } else {
    import_default_model(walk);
    mode.tell_default(Verb::kept, fmt::format("cpu.model = {}, QEMU's default", walk.spec.find("cpu", "model")->value));
  }
  const Leaf fallback = walk.at(cpu, "model/@fallback"), match = walk.at(cpu, "@match");
  fallback.tell(
      fallback.is("forbid") ? Verb::kept : Verb::changed,
      fallback.is("forbid") ? "vmrun never takes another model" : "vmrun refuses a model that this host cannot give");
  match.tell(match.is("exact") ? Verb::kept : Verb::changed,
             match.is("exact") ? "the model as it is named"
             : match.is("strict")
                 ? "the model as it is named; a host that has more is taken as well"
                 : "the model as it is named, without what this host has beyond it; cpu.add adds that");
  walk.at(cpu, "@check").tell(Verb::better, "each feature that is asked for is read back before the guest runs");
  const Leaf migratable = walk.at(cpu, "@migratable");
  migratable.tell(migratable.is("off") ? Verb::changed : Verb::kept,
                  "clock.invtsc decides what a host-bound guest gets");
}

// QEMU's emulation tells AMD's CPUs of no threads (plan/shape.cpp).
bool tells_of_threads(Walk& walk) {
  const SpecText::Line* model = walk.spec.find("cpu", "model");
  return !walk.tcg || model == nullptr ||
         !is_amd_model(std::string_view(model->value).substr(1, model->value.size() - 2));
}

void shape_of(Walk& walk, const XmlElement& topology) {
  const auto get = [&](const char* way) { return walk.at(topology, way).number().value_or(1); };
  const std::uint64_t sockets = get("@sockets"), dies = get("@dies"), clusters = get("@clusters"),
                      cores = get("@cores"), threads = get("@threads");
  const bool fits = sockets <= 4096 && cores <= 4096 && dies <= 4096 && clusters <= 4096 && threads <= 4 &&
                    sockets * dies * clusters * cores * threads == walk.vcpus;
  if (!fits) {
    walk.tell_all(
        topology, Verb::dropped,
        "it is not the shape of the vCPUs that the guest starts with; vmrun shows it that of the CPUs under it");
    return;
  }
  walk.spec.number("cpu", "sockets", sockets);
  const bool told = threads == 1 || tells_of_threads(walk);
  walk.spec.number("cpu", "cores", dies * clusters * cores * (told ? 1 : threads));
  walk.spec.number("cpu", "threads", told ? threads : 1);
  if (!told)
    for (const char* key : {"@cores", "@threads"})
      walk.at(topology, key)
          .tell(Verb::changed, "cpu.cores: QEMU's emulation tells this CPU of no threads, it took each for a core");
  for (const char* key : {"@dies", "@clusters"})
    if (const Leaf leaf = walk.at(topology, key); leaf.there() && !leaf.is("1"))
      leaf.tell(Verb::changed, "part of cpu.cores: the guest sees the dies that its CPUs lie on");
  walk.tell_all(topology, Verb::kept, "cpu.sockets, cpu.cores, cpu.threads");
}

}  // namespace

void import_default_model(Walk& walk) {
  const bool small = walk.at("devices/emulator").value().ends_with("i386");  // that QEMU's default is another
  walk.spec.text("cpu", "model", small ? "qemu32" : "qemu64", "QEMU's default, as without a model in libvirt");
}

void import_cpu(Walk& walk, const XmlElement& cpu) {
  model_of(walk, cpu);
  if (const XmlElement* bits = cpu.find("maxphysaddr"); bits != nullptr && walk.at(*bits, "@mode").is("emulate"))
    walk.tell_all(*bits, Verb::changed, "as many address bits as the memory needs: the guest may see others");
  walk.tell(cpu, "", Verb::kept, "QEMU's default");
  const bool of_host = !walk.at(cpu, "@mode").is("custom") && walk.at(cpu, "@mode").there();
  for (const XmlElement* one : cpu.all("feature")) feature(walk, *one, of_host);
  if (of_host && walk.spec.find("clock", "invtsc") == nullptr)
    walk.spec.flag("clock", "invtsc", false, "libvirt's host models have none");
  if (const XmlElement* topology = cpu.find("topology")) shape_of(walk, *topology);
  const Leaf cache = walk.at(cpu, "cache/@mode"), level = walk.at(cpu, "cache/@level");
  if (cache.is("passthrough")) walk.spec.flag("cpu", "host_caches", true);
  if (cache.is("emulate")) walk.spec.flag("cpu", "host_caches", false);
  for (const Leaf& leaf : {cache, level})
    leaf.kept_if(cache.is("passthrough") || cache.is("emulate"), "cpu.host_caches",
                 "the guest is told of QEMU's own caches");
}

namespace {

// What only KVM has; the emulation went without it, too.
constexpr const char* kvms_own = "none: it is KVM's own, and there is none";

struct Switch {
  const char* way;    // below <features>
  const char* table;  // "" with feature
  const char* key;
  const char* feature;  // of cpu.add or cpu.remove
  bool inverted = false;
};
constexpr Switch switches[] = {{"kvm/hint-dedicated", "cpu", "dedicated", ""},
                               {"kvm/poll-control", "cpu", "poll_control", ""},
                               {"kvm/hidden", "", "", "kvm", true},
                               {"kvm/pv-ipi", "", "", "kvm-pv-ipi"},
                               {"pvspinlock", "", "", "kvm-pv-unhalt"},
                               {"pmu", "cpu", "pmu", ""}};

void set_switch(Walk& walk, const XmlElement& features, const Switch& one) {
  const Leaf state = walk.at(features, std::string(one.way) + "/@state");
  const XmlElement* element = features.find(one.way);
  if (element == nullptr) return;
  const bool on = (!state.there() || state.on()) != one.inverted;
  if (walk.tcg) return walk.tell_all(*element, Verb::kept, kvms_own);
  if (*one.feature != '\0') {
    walk.spec.add_to_list("cpu", on ? "add" : "remove", one.feature);
    walk.tell_all(*element, Verb::kept, fmt::format("cpu.{}: {}", on ? "add" : "remove", one.feature));
    return;
  }
  walk.spec.flag(one.table, one.key, on);
  walk.tell_all(*element, Verb::kept, fmt::format("{}.{}", one.table, one.key));
}

void import_hyperv(Walk& walk, const XmlElement& hyperv) {
  if (walk.tcg)
    return walk.tell_all(hyperv, Verb::kept, "none: without KVM QEMU has none of it, whatever libvirt asked for");
  const Leaf mode = walk.at(hyperv, "@mode");
  mode.kept_if(!mode.is("passthrough"), "[hyperv]", "windows = true: vmrun's set, not all that this KVM has");
  if (mode.is("passthrough")) walk.spec.flag("", "windows", true);
  for (const XmlElement& child : hyperv.children) {
    const Leaf state = walk.at(child, "@state");
    const bool on = !state.there() || state.on();
    std::string key = child.name;
    const auto known = [](std::string_view name) {
      return std::ranges::any_of(hyperv_knobs(), [&](const HypervKnob& knob) { return name == knob.key; });
    };
    if (key == "spinlocks") {
      const auto retries = walk.at(child, "@retries").number();
      if (on) walk.spec.number("hyperv", "spinlocks", retries.value_or(4095));
      walk.tell_all(child, Verb::kept, "hyperv.spinlocks");
    } else if (key == "vendor_id") {
      if (on) walk.spec.text("hyperv", "vendor_id", walk.at(child, "@value").value());
      walk.tell_all(child, Verb::kept, "hyperv.vendor_id");
    } else if (known(key)) {
      walk.spec.flag("hyperv", key, on);
      for (const auto& [part, whole] : {std::pair("direct", "stimer_direct"), {"extended", "tlbflush_ext"}})
        if (const Leaf deeper = walk.at(child, std::string(part) + "/@state");
            deeper.there() && known(key + (key == "stimer" ? "_direct" : "_ext"))) {
          if (std::string(whole).starts_with(key)) {
            walk.spec.flag("hyperv", whole, deeper.on());
            deeper.kept(std::string("hyperv.") + whole);
          }
        }
      state.kept("hyperv." + key);
      if (child.attributes.empty()) walk.tell(child, "", Verb::kept, "hyperv." + key);
    } else {
      walk.tell_all(child, on ? Verb::dropped : Verb::kept,
                    on ? "vmrun has no key for it; a guest does without, slower" : "off, as vmrun has it");
    }
  }
}

}  // namespace

void import_features(Walk& walk, const XmlElement& features) {
  for (const Switch& one : switches) set_switch(walk, features, one);
  if (const XmlElement* hyperv = features.find("hyperv")) import_hyperv(walk, *hyperv);
  if (const XmlElement* apic = features.find("apic")) {
    const Leaf eoi = walk.at(*apic, "@eoi");
    if (eoi.there() && !walk.tcg) walk.spec.add_to_list("cpu", eoi.on() ? "add" : "remove", "kvm-pv-eoi");
    walk.tell_all(*apic, Verb::kept,
                  !eoi.there() ? "the board has APICs"
                  : walk.tcg   ? kvms_own
                               : "cpu.add or cpu.remove: kvm-pv-eoi");
  }
  if (const XmlElement* core = features.find("vmcoreinfo")) {
    const bool on = !walk.at(*core, "@state").is("off");
    if (on) walk.spec.extra("-device"), walk.spec.extra("vmcoreinfo");
    walk.tell_all(*core, Verb::kept, on ? "extra_args: -device vmcoreinfo" : "off, as vmrun has it");
  }
  const Leaf vmport = walk.at(features, "vmport/@state");
  vmport.kept_if(!vmport.on(), "off, as vmrun has it",
                 "vmrun's board has no VMware port; VMware's own tools are blind");
  const Leaf smm = walk.at(features, "smm/@state");
  smm.tell(Verb::better, "vmrun has it where the firmware needs it");
  if (features.find("acpi") == nullptr)
    walk.at(features, "acpi").tell_default(Verb::changed, "the board has ACPI: `vmrun stop` presses its power button");
}

}  // namespace launcher::import
