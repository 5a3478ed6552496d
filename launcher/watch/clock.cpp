#include "launcher/watch/clock.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "launcher/watch/sample.hpp"

namespace launcher::inline watch {

namespace {

constexpr std::string_view pmu = "/sys/bus/event_source/devices/msr";

// "event=0x01" in events/aperf; nullopt: this CPU has no such register.
std::optional<std::uint64_t> register_of(const topology::Sysfs& root, std::string_view name) {
  const auto text = root.read(fmt::format("{}/events/{}", pmu, name));
  constexpr std::string_view head = "event=0x";
  std::uint64_t number = 0;
  if (!text || !text->starts_with(head)) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data() + head.size(), text->data() + text->size(), number, 16);
  if (error != std::errc()) return std::nullopt;
  return number;
}

// By the leader's fd: how many there are, and their counts in the order in which they were opened.
ClockCounts counts_of_group(const Fd& leader) {
  std::array<std::uint64_t, 4> read{};
  if (::read(leader.get(), read.data(), sizeof read) != sizeof read) return {};
  return {now_ns(), read[1], read[2], read[3]};
}

}  // namespace

std::optional<double> mhz_between(const ClockCounts& then, const ClockCounts& now) {
  constexpr std::uint64_t shortest_ns = 10'000'000;
  if (then.at_ns == 0 || now.at_ns < then.at_ns + shortest_ns || now.mperf <= then.mperf || now.aperf <= then.aperf ||
      now.tsc <= then.tsc)
    return std::nullopt;
  const double tsc_mhz = 1000.0 * static_cast<double>(now.tsc - then.tsc) / static_cast<double>(now.at_ns - then.at_ns);
  return tsc_mhz * static_cast<double>(now.aperf - then.aperf) / static_cast<double>(now.mperf - then.mperf);
}

CoreClock::CoreClock(const topology::CpuSet& cpus, const topology::Sysfs& root) {
  const auto type = root.read_number(fmt::format("{}/type", pmu));
  const auto aperf = register_of(root, "aperf"), mperf = register_of(root, "mperf"), tsc = register_of(root, "tsc");
  for (const unsigned cpu : cpus.to_vector()) {
    cpufreq_ = cpufreq_ || root.exists(fmt::format("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", cpu));
    if (!type || !aperf || !mperf || !tsc) continue;
    const auto open = [&](std::uint64_t one, const Fd& leader) {
      perf_event_attr event = event_of(static_cast<std::uint32_t>(*type), one);
      event.read_format = PERF_FORMAT_GROUP;
      return open_event(event, cpu, leader);
    };
    Registers of{open(*aperf, {}), {}, {}, {}};
    of.mperf = open(*mperf, of.aperf);
    of.tsc = open(*tsc, of.aperf);
    if (!of.aperf || !of.mperf || !of.tsc) continue;
    of.first = counts_of_group(of.aperf);
    registers_.emplace(cpu, std::move(of));
  }
}

const char* CoreClock::source() const { return !registers_.empty() ? "APERF/MPERF" : cpufreq_ ? "cpufreq" : ""; }

void CoreClock::add_to(std::map<unsigned, CpuCounts>& counts, bool read) const {
  for (const auto& [cpu, of] : registers_)
    counts[cpu].mhz = read ? mhz_between(of.first, counts_of_group(of.aperf)) : std::nullopt;
}

}  // namespace launcher::watch
