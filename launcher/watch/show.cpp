#include "launcher/watch/show.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>

#include "launcher/text/printable.hpp"
#include "launcher/text/table.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline watch {

namespace {

std::string percent(std::uint64_t ns, const Window& window) {
  return window.ns == 0 ? "-" : fmt::format("{:.2f}", 100.0 * static_cast<double>(ns) / static_cast<double>(window.ns));
}

std::string first_of(const std::vector<Count>& counts, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < counts.size() && i < most; ++i)
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", counts[i].name, counts[i].count);
  return text.empty() ? "-" : text;
}

// "exits" is the sum of the rest; KVM counts much besides.
std::vector<Count> exits_only(const std::vector<Count>& counts) {
  std::vector<Count> exits;
  for (const Count& one : counts)
    if (one.name.ends_with("exits") || one.name.starts_with("halt_")) exits.push_back(one);
  return exits;
}

std::string vcpus_text(const Window& window, unsigned width) {
  TextTable table({{"VCPU", true}, {"EXITS AND HALTS", false, true}});
  for (const VcpuUse& vcpu : window.vcpus) table.add({std::to_string(vcpu.vcpu), first_of(exits_only(vcpu.exits), 6)});
  return table.empty() ? "" : "\n" + table.text(width);
}

std::string cpus_text(const Window& window, unsigned width) {
  TextTable table({{"CPU", true},
                   {"BUSY %", true},
                   {"IRQ %", true},
                   {"STEAL %", true},
                   {"MHZ", true},
                   {"INTERRUPTS", false, true},
                   {"SOFTIRQS", false, true}});
  for (const CpuUse& cpu : window.cpus)
    table.add({std::to_string(cpu.cpu) + (cpu.own ? "" : " (nobody's)"), percent(cpu.busy_ns, window),
               percent(cpu.irq_ns, window), percent(cpu.steal_ns, window), cpu.mhz ? std::to_string(*cpu.mhz) : "-",
               first_of(cpu.interrupts, 3), first_of(cpu.softirqs, 3)});
  return table.empty() ? "" : "\n" + table.text(width);
}

std::string tasks_text(const Window& window, unsigned width) {
  constexpr std::size_t most = 10;
  TextTable table({{"TASK", true}, {"NAME", false, true}, {"ON"}, {"RAN %", true}});
  for (std::size_t i = 0; i < window.tasks.size() && i < most; ++i) {
    const TaskUse& task = window.tasks[i];
    table.add({std::to_string(task.tid), task.name, task.cpus.to_string(), percent(task.ran_ns, window)});
  }
  return table.empty() ? "" : "\nnot the VM's, on its CPUs:\n" + table.text(width);
}

}  // namespace

std::string threads_text(const Window& window, unsigned width) {
  TextTable table({{"THREAD", false, true},
                   {"TID", true},
                   {"CPUS"},
                   {"RAN %", true},
                   {"DELAY %", true},
                   {"SLEPT", true},
                   {"PUSHED", true},
                   {"MOVED", true}});
  std::vector<ThreadUse> threads = window.threads;
  std::ranges::stable_sort(threads, std::greater<>(), &ThreadUse::delay_ns);
  for (const ThreadUse& thread : threads)
    table.add({thread.role, std::to_string(thread.tid), thread.cpus.to_string(), percent(thread.ran_ns, window),
               percent(thread.delay_ns, window), std::to_string(thread.voluntary), std::to_string(thread.involuntary),
               thread.migrations ? std::to_string(*thread.migrations) : "-"});
  return table.text(width);
}

std::string to_text(const Offender& one) {
  const char* unexplained = one.what == "run-delay" ? ": nothing that was seen explains it" : "";
  return fmt::format("{}: {}: {}{} (counts from {})", one.what, printable(one.subject), one.amount,
                     one.who.empty() ? unexplained : ": " + printable(one.who), one.threshold);
}

std::string to_text(const Watched& watched, unsigned width) {
  const Window& window = watched.window;
  std::string text =
      threads_text(window, width) + vcpus_text(window, width) + cpus_text(window, width) + tasks_text(window, width);
  for (const std::string& line : window.log) text += "kernel: " + printable(line) + "\n";
  for (const std::string& what : window.not_checked) text += "not checked: " + printable(what) + "\n";
  for (const Offender& one : watched.offenders) text += to_text(one) + "\n";
  return text + fmt::format("{}: {:.1f} s, {} looks{}\n", watched.clean() ? "clean" : "disturbed",
                            static_cast<double>(window.ns) / 1e9, window.looks,
                            window.traced ? ", every switch traced" : "");
}

boost::json::object to_json(const std::string& name, const Watched& watched) {
  boost::json::object out{{"version", 1}, {"name", name}, {"verdict", watched.clean() ? "clean" : "disturbed"}};
  out["offenders"] = topology::json::write(watched.offenders);
  out["window"] = topology::json::write(watched.window);
  return out;
}

}  // namespace launcher::watch
