// Counters by CPU: interrupts and softirqs by name, time that was busy or taken away, clock, heat.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

#include "launcher/proof/subject.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/sample.hpp"

namespace launcher::inline watch {

namespace {

using topology::CpuSet;

// The next word, which is taken off the text.
std::string_view word_of(std::string_view& text) {
  const std::size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return text = {};
  const std::size_t end = std::min(text.find_first_of(" \t", from), text.size());
  const std::string_view word = text.substr(from, end - from);
  text.remove_prefix(end);
  return word;
}

// What a row of /proc/interrupts is called: "IRQ 24 eth0-rx-0" for a device's, the kernel's own word ("LOC") otherwise.
std::string name_of(std::string_view label, std::string_view rest) {
  if (label.find_first_not_of("0123456789") != std::string_view::npos) return std::string(label);
  std::string_view last;
  for (std::string_view word = word_of(rest); !word.empty(); word = word_of(rest)) last = word;
  return fmt::format("IRQ {}{}{}", label, last.empty() ? "" : " ", last);
}

using Named = std::map<std::string, std::uint64_t> CpuCounts::*;

// Both files have a head that names the CPUs of their columns, and a row for each name.
void read_columns(const std::string& text, Named into, std::map<unsigned, CpuCounts>& cpus) {
  std::vector<unsigned> columns;
  std::string_view rest = text;
  for (bool head = true; !rest.empty(); head = false) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (head) {
      for (std::string_view word = word_of(line); word.starts_with("CPU"); word = word_of(line))
        columns.push_back(static_cast<unsigned>(numbers_in(word.substr(3)).at(0)));
      continue;
    }
    std::string_view label = word_of(line);
    if (label.ends_with(':')) label.remove_suffix(1);
    std::vector<std::pair<unsigned, std::uint64_t>> counts;
    for (const unsigned cpu : columns) {
      std::string_view at = line;
      const std::string_view word = word_of(at);
      std::uint64_t count = 0;
      if (std::from_chars(word.data(), word.data() + word.size(), count).ec != std::errc()) break;
      line = at;
      if (count > 0 && cpus.contains(cpu)) counts.emplace_back(cpu, count);
    }
    if (counts.empty()) continue;
    const std::string name = into == &CpuCounts::interrupts ? name_of(label, line) : std::string(label);
    for (const auto& [cpu, count] : counts) (cpus[cpu].*into)[name] += count;
  }
}

// "cpu4 user nice system idle iowait irq softirq steal guest guest_nice", in ticks.
void read_times(const std::string& text, std::map<unsigned, CpuCounts>& cpus) {
  const auto tick_ns = 1'000'000'000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  for (auto& [cpu, counts] : cpus) {
    const std::vector<std::uint64_t> ticks = numbers_in(text_after(text, fmt::format("cpu{} ", cpu)));
    if (ticks.size() < 8) continue;
    counts.busy_ns = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * tick_ns;
    counts.irq_ns = (ticks[5] + ticks[6]) * tick_ns;
    counts.steal_ns = ticks[7] * tick_ns;
  }
}

}  // namespace

std::map<unsigned, CpuCounts> count_cpus(const Subject& subject, const CpuSet& cpus, Sample& sample) {
  std::map<unsigned, CpuCounts> counts;
  for (const unsigned cpu : cpus.to_vector()) counts[cpu] = {};
  if (counts.empty()) return counts;
  const auto interrupts = subject.root.read("/proc/interrupts"), softirqs = subject.root.read("/proc/softirqs");
  if (!interrupts) sample.not_checked.insert("interrupts: /proc/interrupts cannot be read");
  if (!softirqs) sample.not_checked.insert("softirqs: /proc/softirqs cannot be read");
  read_columns(interrupts.value_or(""), &CpuCounts::interrupts, counts);
  read_columns(softirqs.value_or(""), &CpuCounts::softirqs, counts);
  if (const auto stat = subject.root.read("/proc/stat"))
    read_times(*stat, counts);
  else
    sample.not_checked.insert("steal: /proc/stat cannot be read");
  for (auto& [cpu, one] : counts) {
    const std::string dir = fmt::format("/sys/devices/system/cpu/cpu{}", cpu);
    if (const auto khz = subject.root.read_number(dir + "/cpufreq/scaling_cur_freq"))
      one.mhz = static_cast<double>(*khz) / 1000;
    for (const char* what : {"core", "package"})
      if (const auto times = subject.root.read_number(fmt::format("{}/thermal_throttle/{}_throttle_count", dir, what)))
        one.throttled = one.throttled.value_or(0) + *times;
  }
  return counts;
}

}  // namespace launcher::watch
