// [cpu], [clock] and [hyperv]: their keys, and the rules among them that need no host.
#include "launcher/spec/cpu_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "launcher/spec/spec.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

namespace {

// Features that are keys of their own, and switches that are no features.
struct OwnKey {
  const char* feature;
  const char* key;
};
constexpr OwnKey own_keys[] = {{"pmu", "cpu.pmu"},
                               {"invtsc", "clock.invtsc"},
                               {"kvmclock", "clock.kvmclock"},
                               {"tsc-frequency", "clock.tsc_frequency"},
                               {"kvm-hint-dedicated", "cpu.dedicated"},
                               {"kvm-poll-control", "cpu.poll_control"},
                               {"host-cache-info", "cpu.host_caches"},
                               {"migratable", "clock.invtsc"}};
constexpr const char* no_features[] = {"check", "enforce", "realized", "core-id", "start-powered-off",
                                       "level", "model-id"};

std::vector<std::string> read_features(TableReader& table, const char* key) {
  std::vector<std::string> names = table.texts(key);
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::string& name = names[i];
    const std::string at = fmt::format("{}[{}]", key, i);
    const bool shaped = !name.empty() && name.size() <= 64 && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
                        std::all_of(name.begin(), name.end(), [](unsigned char c) {
                          return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-' || c == '_' || c == '.';
                        });
    if (!shaped) {
      table.problem(at,
                    fmt::format("\"{}\" cannot be a CPU feature; wanted a name such as \"avx2\" or \"vmx\"",
                                printable(name.substr(0, 64))),
                    "write it as QEMU does, without + or - before it: `qemu-system-x86_64 -cpu help` lists them");
      name.clear();
      continue;
    }
    std::replace(name.begin(), name.end(), '_', '-');
    const auto* own =
        std::find_if(std::begin(own_keys), std::end(own_keys), [&](const OwnKey& one) { return name == one.feature; });
    const bool hyperv = name.starts_with("hv-");
    if (own != std::end(own_keys) || hyperv)
      table.problem(at, fmt::format("{} has a key of its own; wanted other features only", name),
                    fmt::format("set {} instead", hyperv ? "windows = true, or a key of [hyperv]," : own->key));
    else if (std::find(std::begin(no_features), std::end(no_features), name) != std::end(no_features))
      table.problem(at, fmt::format("{} is no feature of a CPU; wanted one such as \"avx2\"", name), "remove it");
    else
      continue;
    name.clear();
  }
  return names;  // those with problems stay, empty: the others keep their place
}

OrAuto<CacheLevel> read_level(TableReader& table, const char* key) {
  const std::size_t choice = table.choice(key, {"auto", "core", "die", "socket"}, 0);
  if (choice == 0) return std::nullopt;
  return static_cast<CacheLevel>(choice - 1);
}

}  // namespace

const std::vector<HypervKnob>& hyperv_knobs() {
  static const std::vector<HypervKnob> knobs = {
      {"relaxed", "hv-relaxed", true, {}, "no watchdog panics when a vCPU had to wait"},
      {"vapic", "hv-vapic", true, {}, "interrupts are acknowledged without an exit"},
      {"vpindex", "hv-vpindex", true, {}, "vCPUs have numbers, which others here need"},
      {"runtime", "hv-runtime", true, {}, "the time a vCPU really ran"},
      {"time", "hv-time", true, {}, "a clock read without an exit"},
      {"synic", "hv-synic", true, {"vpindex"}, "the interrupt controller of the synthetic timers"},
      {"stimer", "hv-stimer", true, {"synic", "time"}, "synthetic timers in place of RTC and HPET"},
      {"stimer_direct", "hv-stimer-direct", false, {"stimer"}, "timers as plain interrupts, not messages"},
      {"reset", "hv-reset", true, {}, "a reset by register"},
      {"frequencies", "hv-frequencies", true, {}, "TSC and APIC frequency are told, not measured"},
      {"reenlightenment", "hv-reenlightenment", false, {}, "told when the TSC's frequency changed"},
      {"tlbflush", "hv-tlbflush", true, {"vpindex"}, "one call flushes the TLBs of many vCPUs"},
      {"tlbflush_ext", "hv-tlbflush-ext", false, {"tlbflush"}, "and of ranges"},
      {"ipi", "hv-ipi", true, {"vpindex"}, "one call sends an interrupt to many vCPUs"},
      {"avic", "hv-avic", false, {}, "lets hardware virtualize the APIC beside synic"},
      {"xmm_input", "hv-xmm-input", false, {}, "calls take their input in registers"},
      {"crash", "hv-crash", false, {}, "a crash tells its parameters"},
      {"evmcs", "hv-evmcs", true, {"vapic"}, "nested Hyper-V reads and writes its VMCS in memory"},
  };
  return knobs;
}

CpuSpec read_cpu(TableReader& table) {
  CpuSpec cpu;
  cpu.count = static_cast<unsigned>(table.integer("count", 1, 1, 4096));
  if (!table.is_text("model", "auto")) {
    cpu.model = table.text("model", "");
    if (cpu.model->empty()) cpu.model.reset();
  }
  cpu.add = read_features(table, "add");
  cpu.remove = read_features(table, "remove");
  cpu.require = read_features(table, "require");
  cpu.nested = table.flag_or_auto("nested");
  cpu.pmu = table.flag_or_auto("pmu");
  cpu.threads = table.integer_or_auto("threads", 1, 4);
  cpu.sockets = table.integer_or_auto("sockets", 1, 4096);
  cpu.cores = table.integer_or_auto("cores", 1, 4096);
  cpu.host_caches = table.flag_or_auto("host_caches");
  cpu.l1 = read_level(table, "l1");
  cpu.l2 = read_level(table, "l2");
  cpu.l3 = read_level(table, "l3");
  if (table.is_text("pin", "off")) {
    cpu.pin = topology::Pinning::off;
  } else if (std::optional<std::vector<unsigned>> list = table.numbers_or_auto("pin")) {
    cpu.pin = topology::Pinning::listed;
    cpu.pin_list = std::move(*list);
  }
  cpu.siblings = static_cast<topology::Siblings>(table.choice("siblings", {"prefer", "isolate", "require"}, 0));
  cpu.emulator = table.cpus_or_auto("emulator");
  cpu.kind = static_cast<topology::CpuKindChoice>(
      table.choice("kind", {"auto", "performance", "efficiency", "any", "low-power"}, 0));
  cpu.largest_l3 = table.is_text("host_l3", "largest");
  if (!cpu.largest_l3) cpu.host_l3 = table.integer_or_auto("host_l3", 0, 4095);
  cpu.dedicated = table.flag_or_auto("dedicated");
  cpu.poll_control = table.flag_or_auto("poll_control");
  cpu.pm = table.flag("pm", false);
  return cpu;
}

ClockSpec read_clock(TableReader& table) {
  ClockSpec clock;
  if (const std::size_t base = table.choice("base", {"auto", "utc", "localtime"}, 0); base > 0)
    clock.base = static_cast<RtcBase>(base - 1);
  if (const std::size_t fix = table.choice("drift_fix", {"auto", "none", "slew"}, 0); fix > 0)
    clock.drift_fix = static_cast<DriftFix>(fix - 1);
  clock.hpet = table.flag_or_auto("hpet");
  clock.pit = table.flag_or_auto("pit");
  clock.kvmclock = table.flag_or_auto("kvmclock");
  clock.invtsc = table.flag_or_auto("invtsc");
  constexpr std::int64_t mhz = 1'000'000;
  if (const auto hertz = table.integer_or_auto("tsc_frequency", 100 * mhz, 20'000 * mhz))
    clock.frequency = static_cast<std::uint64_t>(*hertz);
  return clock;
}

HypervSpec read_hyperv(TableReader& table) {
  HypervSpec hyperv;
  for (const HypervKnob& knob : hyperv_knobs())
    if (const std::optional<bool> asked = table.flag_or_auto(knob.key)) hyperv.asked[knob.key] = *asked;
  hyperv.vendor_id = table.text("vendor_id", "");
  constexpr std::size_t longest = 12;  // of the three registers it is told in
  if (hyperv.vendor_id.size() > longest ||
      !std::ranges::all_of(hyperv.vendor_id, [](unsigned char c) { return c >= 0x20 && c < 0x7f; }))
    table.problem("vendor_id",
                  fmt::format("\"{}\" has {} bytes; wanted at most {} of plain text",
                              printable(hyperv.vendor_id.substr(0, 64)), hyperv.vendor_id.size(), longest),
                  "shorten it, or remove it for \"Microsoft Hv\"");
  hyperv.spinlocks = table.integer_or_auto("spinlocks", 1, 0xffff'ffff - 1);
  return hyperv;
}

namespace {

// "0=f0;1=f": the kernel's own way to write it (Documentation/arch/x86/resctrl.rst), one L3 after the other.
std::vector<CacheShare> read_shares(TableReader& table, const char* key) {
  std::vector<CacheShare> shares;
  const std::string text = table.text(key, "");
  const auto wrong = [&](const std::string& what) {
    table.problem(key, fmt::format("{}; wanted L3 ids with masks of ways such as \"0=f0;1=f0\"", what),
                  "`cat /sys/fs/resctrl/schemata` shows the ids and the whole masks");
    return std::vector<CacheShare>{};
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(';', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, end - at);
    const std::size_t equals = std::min(part.find('='), part.size());
    CacheShare share;
    const auto whole = [](std::string_view digits, auto& number, int base) {
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
      return error == std::errc{} && stop == digits.data() + digits.size();
    };
    if (equals == part.size() || !whole(part.substr(0, equals), share.cache, 10) ||
        !whole(part.substr(equals + 1), share.ways, 16))
      return wrong(fmt::format("\"{}\" is no ID=MASK", printable(part)));
    if (share.ways == 0) return wrong(fmt::format("L3 {} with no way at all", share.cache));
    if (std::any_of(shares.begin(), shares.end(), [&](const CacheShare& one) { return one.cache == share.cache; }))
      return wrong(fmt::format("L3 {} is there twice", share.cache));
    shares.push_back(share);
    at = end + 1;
  }
  return shares;
}

}  // namespace

ScheduleSpec read_schedule(TableReader& table) {
  ScheduleSpec schedule;
  constexpr unsigned most_fifo = 98;  // 99 is the kernel's own watchdogs'
  schedule.vcpu_fifo = static_cast<unsigned>(table.integer("vcpu_fifo", 0, 0, most_fifo));
  schedule.iothread_fifo = static_cast<unsigned>(table.integer("iothread_fifo", 0, 0, most_fifo));
  schedule.core = table.flag("core", false);
  schedule.weight = table.integer_or_auto("weight", 1, 10000);
  schedule.quota = table.integer_or_auto("quota", 1, 409'600);
  schedule.l3 = read_shares(table, "l3");
  return schedule;
}

Problems cpu_rules(const Spec& spec, const std::function<bool(std::string_view)>& sound) {
  Problems broken;
  const auto add = [&](std::string key, std::string what, std::string help) {
    broken.push_back({std::move(key), std::move(what), std::move(help)});
  };
  const CpuSpec& cpu = spec.cpu;
  for (const auto& [key, list] : {std::pair("add", &cpu.add), {"require", &cpu.require}})
    for (std::size_t i = 0; i < list->size() && sound("cpu.remove"); ++i)
      if (std::find(cpu.remove.begin(), cpu.remove.end(), (*list)[i]) != cpu.remove.end() && sound("cpu.add"))
        add(fmt::format("cpu.{}[{}]", key, i),
            fmt::format("{} is in cpu.remove as well; wanted one or the other", (*list)[i]), "take it out of one list");
  if (cpu.nested && sound("cpu.nested"))
    for (const auto& [key, list] : {std::pair("add", &cpu.add), {"remove", &cpu.remove}, {"require", &cpu.require}})
      for (std::size_t i = 0; i < list->size(); ++i)
        if ((*list)[i] == "vmx" || (*list)[i] == "svm")
          add(fmt::format("cpu.{}[{}]", key, i),
              fmt::format("{} is also what cpu.nested decides; wanted it in one place", (*list)[i]),
              "remove it here, or leave out cpu.nested");
  const std::pair<const char*, OrAuto<CacheLevel>> levels[] = {{"l1", cpu.l1}, {"l2", cpu.l2}, {"l3", cpu.l3}};
  for (std::size_t inner = 0; inner < 3; ++inner)
    for (std::size_t outer = inner + 1; outer < 3; ++outer)
      if (levels[inner].second && levels[outer].second && *levels[inner].second > *levels[outer].second)
        add(fmt::format("cpu.{}", levels[inner].first),
            fmt::format("is shared by more than {}; wanted an inner cache that is within the outer one",
                        levels[outer].first),
            fmt::format("set {} to the value of {}, or to one nearer to the core", levels[inner].first,
                        levels[outer].first));
  const bool windows = spec.windows;
  const auto on = [&](std::string_view key) {
    const auto found = spec.hyperv.asked.find(key);
    if (found != spec.hyperv.asked.end()) return found->second;
    return windows && std::any_of(hyperv_knobs().begin(), hyperv_knobs().end(),
                                  [&](const HypervKnob& knob) { return key == knob.key && knob.of_windows; });
  };
  for (const HypervKnob& knob : hyperv_knobs()) {
    if (!on(knob.key)) continue;
    if (knob.key == std::string_view("evmcs") && !spec.hyperv.asked.contains(knob.key))
      continue;  // only where it can be
    for (const char* need : knob.needs) {
      const std::string key = fmt::format("hyperv.{}", spec.hyperv.asked.contains(knob.key) ? knob.key : need);
      if (!on(need) && sound(key))
        add(key, fmt::format("{} needs {}; wanted both or neither", knob.key, need),
            fmt::format("set hyperv.{0} = true, or hyperv.{1} = false", need, knob.key));
    }
  }
  return broken;
}

}  // namespace launcher::spec
