// vCPUs, and where and how their threads run.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "launcher/import/walk.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline import {

namespace {

using topology::CpuSet;

std::optional<CpuSet> cpus_of(const Leaf& leaf) {
  const auto set = CpuSet::parse(leaf.value());
  return leaf.there() && set && !set->empty() ? std::optional(*set) : std::nullopt;
}

std::string afloat(const CpuSet& cpus) {
  return fmt::format(
      "the vCPUs float, by the kernel's choice, on all CPUs that vmrun may use; `taskset -c {}` before vmrun "
      "(AllowedCPUs= in a unit) keeps it, --replace-pins gives each vCPU a CPU of its own",
      cpus.to_string());
}

}  // namespace

void import_vcpu(Walk& walk, const XmlElement& element) {
  const Leaf count = walk.at(element, ""), current = walk.at(element, "@current"), set = walk.at(element, "@cpuset"),
             placement = walk.at(element, "@placement");
  walk.spec.number("cpu", "count", walk.vcpus);
  const bool all = !current.there() || current.value() == count.value();
  count.kept_if(all, "cpu.count", "the guest has the vCPUs that were on at its start; none can be added while it runs");
  current.kept("cpu.count");
  placement.tell(placement.is("auto") ? Verb::better : Verb::kept,
                 placement.is("auto") ? "vmrun places by what is free, not numad" : "as cpu.pin says");
  if (!set.there()) return;
  const auto cpus = cpus_of(set);
  if (walk.options.replace_pins || !cpus)
    set.tell(cpus ? Verb::better : Verb::dropped,
             cpus ? "cpu.pin = \"auto\": CPUs of its own for each vCPU (--replace-pins)" : "not a list of CPUs");
  else if (walk.root.find("cputune/vcpupin") == nullptr) {
    walk.spec.text("cpu", "pin", "off", "they floated on " + set.value());
    set.tell(Verb::dropped, afloat(*cpus));
  } else
    set.tell(Verb::kept, "cpu.pin has what vcpupin says of each vCPU");
}

namespace {

void import_pins(Walk& walk, const XmlElement& tune) {
  const auto pins = tune.all("vcpupin");
  if (pins.empty()) return;
  std::map<std::uint64_t, CpuSet> of;
  bool single = true;
  CpuSet all;
  std::set<unsigned> taken;
  for (const XmlElement* pin : pins) {
    const auto vcpu = walk.at(*pin, "@vcpu").number();
    const auto cpus = cpus_of(walk.at(*pin, "@cpuset"));
    if (!vcpu || !cpus || *vcpu >= walk.vcpus) continue;
    of[*vcpu] = *cpus;
    all = all | *cpus;
    single = single && cpus->size() == 1 && taken.insert(cpus->first()).second;
  }
  const bool listed = single && of.size() == walk.vcpus;
  std::string words = afloat(all);
  Verb verb = Verb::dropped;
  if (walk.options.replace_pins) {
    verb = Verb::better, words = "cpu.pin = \"auto\": chosen from what is free at each start (--replace-pins)";
  } else if (listed) {
    std::vector<unsigned> list;
    list.reserve(of.size());
    for (const auto& [vcpu, cpus] : of) list.push_back(cpus.first());
    walk.spec.set("cpu", "pin", fmt::format("[{}]", fmt::join(list, ", ")),
                  "as vcpupin; \"auto\" chooses from what is free");
    verb = Verb::kept, words = "cpu.pin";
  } else {
    walk.spec.text("cpu", "pin", "off", "vCPUs floated on " + all.to_string());
  }
  for (const XmlElement* pin : pins) {
    const auto vcpu = walk.at(*pin, "@vcpu").number();
    const bool off = vcpu && *vcpu >= walk.vcpus;
    walk.tell_all(*pin, off ? Verb::dropped : verb, off ? "of a vCPU that the guest does not start with" : words);
  }
}

void import_emulator_pins(Walk& walk, const XmlElement& tune) {
  CpuSet all;
  const XmlElement* emulator = tune.find("emulatorpin");
  if (emulator != nullptr)
    if (const auto cpus = cpus_of(walk.at(*emulator, "@cpuset"))) all = *cpus;
  const bool replaced = walk.options.replace_pins;
  if (emulator != nullptr && tune.find("vcpupin") == nullptr && !replaced && walk.spec.find("cpu", "pin") == nullptr)
    walk.spec.text("cpu", "pin", "off", "only QEMU's own threads were pinned");
  if (emulator != nullptr) {
    if (!all.empty() && !replaced) walk.spec.text("cpu", "emulator", all.to_string());
    walk.tell_all(*emulator,
                  all.empty() ? Verb::dropped
                  : replaced  ? Verb::better
                              : Verb::kept,
                  all.empty() ? "not a list of CPUs"
                  : replaced  ? "cpu.emulator = \"auto\" (--replace-pins)"
                              : "cpu.emulator");
  }
  for (const XmlElement* pin : tune.all("iothreadpin")) {
    const auto cpus = cpus_of(walk.at(*pin, "@cpuset"));
    const bool same = cpus && *cpus == all;
    if (cpus && emulator == nullptr && !replaced && walk.spec.find("cpu", "emulator") == nullptr)
      walk.spec.text("cpu", "emulator", cpus->to_string(), "as iothreadpin");
    walk.tell_all(*pin,
                  !cpus      ? Verb::dropped
                  : replaced ? Verb::better
                  : same     ? Verb::kept
                             : Verb::changed,
                  !cpus ? "not a list of CPUs" : "I/O threads run on cpu.emulator's CPUs, with QEMU's other threads");
  }
}

// The vCPUs, each on a CPU of its own, none of which QEMU's other threads have.
bool alone(Walk& walk, const XmlElement& tune) {
  const SpecText::Line *pin = walk.spec.find("cpu", "pin"), *emulator = walk.spec.find("cpu", "emulator");
  if (pin == nullptr || pin->value == "\"off\"" || emulator == nullptr)
    return pin == nullptr || pin->value != "\"off\"";
  const auto of_qemu = CpuSet::parse(std::string_view(emulator->value).substr(1, emulator->value.size() - 2));
  return std::ranges::none_of(tune.all("vcpupin"), [&](const XmlElement* one) {
    const auto cpus = cpus_of(walk.at(*one, "@cpuset"));
    return cpus && of_qemu && !(*cpus & *of_qemu).empty();
  });
}

void import_scheduling(Walk& walk, const XmlElement& tune, const char* name, const char* key, std::uint64_t threads) {
  CpuSet covered;
  std::set<std::uint64_t> priorities;
  bool fifo = true;
  const auto rows = tune.all(name);
  for (const XmlElement* one : rows) {
    for (const char* list : {"@vcpus", "@iothreads"})
      if (const auto set = cpus_of(walk.at(*one, list))) covered = covered | *set;
    const Leaf scheduler = walk.at(*one, "@scheduler");
    fifo = fifo && (scheduler.is("fifo") || scheduler.is("rr"));
    priorities.insert(walk.at(*one, "@priority").number().value_or(0));
  }
  if (rows.empty()) return;
  const bool good = fifo && priorities.size() == 1 && *priorities.begin() >= 1 && *priorities.begin() <= 98 &&
                    covered.size() >= threads;
  // vmrun gives vCPUs a real-time priority only on CPUs of their own
  const bool floats = std::string_view(key) == "vcpu_fifo" && !alone(walk, tune);
  if (good && !floats) walk.spec.number("schedule", key, *priorities.begin());
  for (const XmlElement* one : rows) {
    const bool rr = walk.at(*one, "@scheduler").is("rr");
    walk.tell_all(
        *one,
        !good || floats ? Verb::dropped
        : rr            ? Verb::changed
                        : Verb::kept,
        floats ? "vCPUs that float, or share a CPU with QEMU's own threads, get no real-time priority: they could hold "
                 "those back"
        : !good
            ? "vmrun has one SCHED_FIFO priority (1 to 98) for all threads of a kind; these are scheduled as others are"
        : rr ? fmt::format("schedule.{}: FIFO; alone on a CPU it is the same", key)
             : fmt::format("schedule.{}", key));
  }
}

void import_shares(Walk& walk, const XmlElement& tune) {
  const Leaf shares = walk.at(tune, "shares");
  if (const auto weight = shares.number(); weight && *weight >= 1 && *weight <= 10000) {
    walk.spec.number("schedule", "weight", *weight, "as libvirt writes it to cpu.weight (cgroup version 2)");
    shares.kept("schedule.weight");
  } else {
    shares.tell(Verb::dropped, "schedule.weight goes from 1 to 10000");
  }
  const auto percent = [&](const char* quota, const char* period) -> std::optional<std::uint64_t> {
    const auto part = walk.at(tune, quota).number(), whole = walk.at(tune, period).number();
    if (!part || *part == 0 || *part > (std::uint64_t{1} << 44) || (whole && *whole == 0)) return std::nullopt;
    return *part * 100 / whole.value_or(100'000);
  };
  auto quota = percent("global_quota", "global_period");
  const bool global = quota.has_value();
  if (!global)
    if (const auto each = percent("quota", "period")) quota = *each * walk.vcpus;
  if (quota && *quota >= 1 && *quota <= 409'600) walk.spec.number("schedule", "quota", *quota, "percent of one CPU");
  const bool set = walk.spec.find("schedule", "quota") != nullptr;
  for (const auto& [way, mine] :
       {std::pair("global_quota", global), {"global_period", global}, {"quota", !global}, {"period", !global}}) {
    const Leaf leaf = walk.at(tune, way);
    const bool whole = std::string_view(way).starts_with("global");
    if (!set && (leaf.value().starts_with('-') || way == std::string_view(whole ? "global_period" : "period"))) {
      leaf.tell(Verb::kept, "no limit");
      continue;
    }
    leaf.tell(!set || !mine ? Verb::dropped
              : whole       ? Verb::kept
                            : Verb::changed,
              !set    ? "no limit, or one that schedule.quota cannot say"
              : !mine ? "schedule.quota has the limit of the whole VM only"
              : whole ? "schedule.quota"
                      : "schedule.quota: one limit for the whole VM, as much as all its vCPUs had together");
  }
}

}  // namespace

void import_cputune(Walk& walk, const XmlElement& tune) {
  import_pins(walk, tune);
  import_emulator_pins(walk, tune);
  import_scheduling(walk, tune, "vcpusched", "vcpu_fifo", walk.vcpus);
  import_scheduling(
      walk, tune, "iothreadsched", "iothread_fifo",
      walk.at("iothreads")
          .number()
          .value_or(walk.root.find("iothreadids") ? walk.root.find("iothreadids")->all("iothread").size() : 0));
  import_shares(walk, tune);
}

namespace {

bool used_by_disk(Walk& walk, const std::string& id) {
  const XmlElement* devices = walk.root.find("devices");
  if (devices == nullptr) return false;
  return std::ranges::any_of(devices->children,
                             [&](const XmlElement& one) { return walk.at(one, "driver/@iothread").is(id); });
}

}  // namespace

// What stands of a thread that a disk uses is told with that disk.
void import_iothreads(Walk& walk, const XmlElement& element) {
  const char* words = "each disk has an I/O thread of its own, or shares that of its iothread_pool";
  if (element.children.empty()) return walk.tell_all(element, Verb::better, words);
  for (const XmlElement& one : element.children) {
    const Leaf id = walk.at(one, "@id");
    id.tell(Verb::better, words);
    if (!used_by_disk(walk, id.value())) walk.tell_all(one, Verb::dropped, "of a thread that no disk uses");
  }
}

}  // namespace launcher::import
