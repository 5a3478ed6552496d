// The guest's CPUs of a command line: -smp, and -cpu with its features.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/import/argv.hpp"
#include "launcher/spec/cpu_spec.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

void shape(ArgvWalk& walk) {
  ArgvOption* smp = walk.find("smp");
  if (smp == nullptr) {
    walk.missing("-smp", Verb::kept, "cpu.count = 1");
    return;
  }
  const auto get = [&](const char* key) { return std::min<std::uint64_t>(smp->number(key).value_or(1), 4096); };
  const std::uint64_t sockets = get("sockets"), cores = get("dies") * get("clusters") * get("modules") * get("cores"),
                      threads = get("threads"), product = sockets * cores * threads;
  const bool shaped = smp->has("sockets") || smp->has("cores") || smp->has("threads");
  const std::uint64_t count = smp->has("cpus") ? smp->number("cpus").value_or(0) : product;
  const bool good = count >= 1 && count <= 4096;
  walk.vcpus = good ? count : 1;
  walk.spec.number("cpu", "count", walk.vcpus);
  smp->tell("cpus", good ? Verb::kept : Verb::refused,
            good ? "cpu.count"
            : smp->value.find_first_of("$`") != std::string::npos
                ? "how many is known to a shell only: write the number there"
                : "no number of vCPUs; wanted 1 to 4096");
  const bool fits = shaped && product == walk.vcpus && threads <= 4;
  if (fits) {
    walk.spec.number("cpu", "sockets", sockets);
    walk.spec.number("cpu", "cores", cores);
    walk.spec.number("cpu", "threads", threads);
  }
  if (!shaped && walk.vcpus > 1)
    walk.missing(
        "-smp sockets, cores, threads", Verb::better,
        fmt::format("\"auto\": the guest sees the cores, siblings and caches that it gets; it saw {} cores of a "
                    "socket",
                    walk.vcpus));
  for (const char* key : {"sockets", "cores", "threads", "dies", "clusters", "modules"})
    smp->tell(key,
              fits                ? Verb::kept
              : smp->is(key, "1") ? Verb::kept
                                  : Verb::dropped,
              fits ? "cpu.sockets, cpu.cores, cpu.threads"
                   : "not the shape of the vCPUs that the guest starts with: it mirrors the CPUs under it");
  smp->kept_if(smp->number("maxcpus").value_or(count) <= count, "maxcpus", "cpu.count",
               "no vCPU can be added while the guest runs");
}

struct CpuWalk {
  ArgvWalk& walk;
  ArgvOption& cpu;
  bool of_host;
};

// "hv_spinlocks" and "hv-spinlocks" are one.
std::string with_dashes(std::string name) {
  std::ranges::replace(name, '_', '-');
  return lowered(name);
}

bool hyperv(CpuWalk& of, const std::string& key, const std::string& name, const std::string& value, bool on) {
  if (!name.starts_with("hv-")) return false;
  SpecText& spec = of.walk.spec;
  if (of.walk.tcg) return of.cpu.tell(key, Verb::kept, "none: it is KVM's own, and there is none"), true;
  const auto& knobs = hyperv_knobs();
  const auto knob = std::ranges::find_if(knobs, [&](const HypervKnob& one) { return name == one.feature; });
  if (name == "hv-spinlocks") {
    const auto retries = number_of(value);
    if (retries && *retries <= 0xffffffff) spec.number("hyperv", "spinlocks", *retries);
    of.cpu.kept_if(retries.has_value(), key, "hyperv.spinlocks", "no number of retries");
  } else if (name == "hv-vendor-id") {
    const bool fits = value.size() <= 12;
    if (fits) spec.text("hyperv", "vendor_id", value);
    of.cpu.kept_if(fits, key, "hyperv.vendor_id", "at most 12 letters");
  } else if (name == "hv-passthrough") {
    if (on) spec.flag("", "windows", true);
    of.cpu.tell(key, Verb::changed, "windows = true: vmrun's set, not all that this KVM has");
  } else if (knob != knobs.end()) {
    spec.flag("hyperv", knob->key, on);
    of.cpu.kept(key, std::string("hyperv.") + knob->key);
  } else {
    of.cpu.tell(key, on ? Verb::dropped : Verb::kept,
                on ? "vmrun has no key for it; a guest does without, slower" : "off, as vmrun has it");
  }
  return true;
}

struct OwnFeature {
  const char* name;
  const char* table;
  const char* key;
};
constexpr OwnFeature own_features[] = {{"vmx", "cpu", "nested"},
                                       {"svm", "cpu", "nested"},
                                       {"pmu", "cpu", "pmu"},
                                       {"invtsc", "clock", "invtsc"},
                                       {"kvmclock", "clock", "kvmclock"},
                                       {"kvm-hint-dedicated", "cpu", "dedicated"},
                                       {"kvm-poll-control", "cpu", "poll_control"},
                                       {"host-cache-info", "cpu", "host_caches"}};

void feature(CpuWalk& of, const std::string& key, const std::string& value) {
  std::string name = with_dashes(key);
  bool on = value != "off" && value != "false" && value != "no" && value != "0";
  if (name.starts_with('-')) on = false;
  name.erase(0, std::min(name.find_first_not_of("+-"), name.size()));
  if (hyperv(of, key, name, value, on)) return;
  const bool kvm_own = name.starts_with("kvm") || name == "invtsc";
  if (of.walk.tcg && kvm_own) return of.cpu.tell(key, Verb::kept, "none: it is KVM's own, and there is none");
  for (const OwnFeature& own : own_features)
    if (name == own.name) {
      of.walk.spec.flag(own.table, own.key, on);
      return of.cpu.kept(key, fmt::format("{}.{}", own.table, own.key));
    }
  if (name == "tsc-frequency" || name == "tsc-freq") {
    const auto hertz = number_of(value);
    const bool good = hertz && *hertz >= 100'000'000 && *hertz <= 20'000'000'000;
    if (good) of.walk.spec.number("clock", "tsc_frequency", *hertz);
    return of.cpu.kept_if(good, key, "clock.tsc_frequency", "from 100 MHz to 20 GHz, in Hz, only");
  }
  const bool flag =
      value == "on" || value == "off" || value == "true" || value == "false" || value == "yes" || value == "no";
  const bool shaped = !name.empty() && name.size() <= 64 && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
                      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == name.npos;
  if (find_argv_row("cpu", "", name) != nullptr) {
    const ArgvRow* row = find_argv_row("cpu", "", name);
    return of.cpu.tell(key, row->verb, row->words);
  }
  if (!flag || !shaped) return of.cpu.tell(key, Verb::dropped, "no feature that is on or off: as the model has it");
  of.walk.spec.add_to_list("cpu", on ? "add" : "remove", name);
  of.cpu.kept(key, on ? "cpu.add" : "cpu.remove");
}

}  // namespace

void argv_cpu(ArgvWalk& walk) {
  shape(walk);
  walk.missing("vCPU pins", Verb::better,
               "cpu.pin = \"auto\": each vCPU gets a CPU of its own where the host has them; \"off\" lets them float "
               "as they did");
  ArgvOption* cpu = walk.find("cpu");
  if (cpu == nullptr) {
    walk.spec.text("cpu", "model", "qemu64", "QEMU's default; \"host\" is faster");
    walk.missing("-cpu", Verb::kept, "cpu.model = \"qemu64\", QEMU's default");
    return;
  }
  const std::string model = cpu->get("model");
  const bool host = model == "host" || model == "max";
  if (model.empty())
    cpu->tell("model", Verb::changed, "cpu.model = \"auto\"");
  else
    walk.spec.text("cpu", "model", host ? (walk.tcg ? "max" : model) : model);
  cpu->kept("model", "cpu.model");
  CpuWalk of{walk, *cpu, host};
  const Members members = cpu->members;
  for (const auto& [key, value] : members)
    if (key != "model") feature(of, key, value);
  if (host && walk.spec.find("clock", "invtsc") == nullptr)
    walk.spec.flag("clock", "invtsc", false, "QEMU's host model has none unless it is asked for");
}

}  // namespace launcher::import
