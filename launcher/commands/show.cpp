// `vmrun show`: where a VM's threads and memory are, by the kernel's word, beside where they should be.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <ctime>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/commands/summary.hpp"
#include "launcher/life/thread_report.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::commands {

namespace {

// A part of the page; all_right: everything in it is as wanted.
struct Part {
  std::string text;
  bool all_right = true;
};

Part threads_part(const VmDir& dir) {
  Part part{fmt::format("\n{:>8}  {:<16} {:<20} {:<12} {:<12}\n", "TID", "NAME", "ROLE", "WANTED", "ACTUAL")};
  for (const ThreadReport& thread : report_threads(dir)) {
    part.all_right = part.all_right && thread.as_wanted();
    part.text += fmt::format("{:>8}  {:<16} {:<20} {:<12} {:<12}{}{}\n", thread.tid, thread.name, thread.role,
                             thread.wanted.to_string(), thread.actual.to_string(),
                             thread.fifo > 0 ? fmt::format(" FIFO {}", thread.fifo) : "",
                             thread.as_wanted() ? "" : " NOT AS WANTED");
  }
  return part;
}

Part controls_part(const VmDir& dir) {
  Part part;
  for (const ControlReport& control : report_controls(dir)) {
    const bool lost = control.path.ends_with(".partition") && control.actual != control.wanted;
    part.all_right = part.all_right && !lost;
    part.text += fmt::format("{}{}: {}{}\n", part.text.empty() ? "\n" : "", control.path, printable(control.actual),
                             lost ? " NOT AS WANTED" : "");
  }
  return part;
}

std::string memory_text(const VmDir& dir) {
  std::string text = fmt::format("\n{:>6}  {:>5}  {:>10}  {}\n", "NODE", "PAGE", "PAGES", "SIZE");
  for (const MemoryReport& part : report_memory(dir)) {
    text += fmt::format("{:>6}  {:>5}  {:>10}  {} MiB\n", part.node, to_string(part.page), part.pages,
                        part.page.count * part.pages >> 20);
  }
  return text;
}

std::string interrupts_text(const VmDir& dir) {
  const std::vector<Interrupt> interrupts = report_interrupts(dir);
  if (interrupts.empty()) return {};
  std::string text = fmt::format("\n{:>8}  {:<32} {:<12} {:<12}\n", "IRQ", "NAME", "WANTED", "ACTUAL");
  for (const Interrupt& one : interrupts)
    text += fmt::format("{:>8}  {:<32} {:<12} {:<12}{}\n", one.number, one.name, one.wanted.to_string(),
                        one.actual.to_string(),
                        one.wanted.empty() || one.wanted.contains(one.actual) ? "" : " NOT THERE YET");
  return text;
}

void show_json(const VmDir& dir) {
  boost::json::object out = summary(dir);
  out["threads"] = thread_report_json(dir);
  out["controls"] = control_report_json(dir);
  out["memory"] = memory_report_json(dir);
  out["interrupts"] = interrupt_report_json(dir);
  out["plan"] = dir.read_plan().value_or(nullptr);
  print_json(out);
}

}  // namespace

int show(const Options& options) {
  const VmDir dir = named_vm(options);
  if (options.flag("json")) {
    show_json(dir);
    return done;
  }
  const State state = dir.read_state();
  std::string text = fmt::format("VM {}: {}", dir.name(), phase_of(dir, state));
  if (state.qemu) text += fmt::format(", QEMU pid {}", state.qemu->pid);
  if (state.since > 0)
    text += fmt::format(", since {:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(state.since)));
  const Part threads = threads_part(dir);
  const Part controls = controls_part(dir);
  print(text + "\n" + threads.text + controls.text + memory_text(dir) + interrupts_text(dir));
  return threads.all_right && controls.all_right ? done : failed;
}

}  // namespace launcher::commands
