// `vmrun list`, `vmrun show`, `vmrun wait`, `vmrun recover`: what runs, what it holds, what a crash left.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cerrno>
#include <ctime>

#include "launcher/commands/commands.hpp"
#include "launcher/life/thread_report.hpp"
#include "launcher/steps/transaction.hpp"
#include "launcher/text/printable.hpp"
#include "topology/placement_json.hpp"

namespace launcher::commands {

namespace {

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::running:
      return "running";
    case Phase::stopping:
      return "stopping";
  }
  return "?";
}

std::string phase_of(const VmDir& dir, const State& state) {
  return dir.owner_alive() ? name_of(state.phase) : "crashed";
}

boost::json::object summary(const VmDir& dir) {
  const State state = dir.read_state();
  const topology::Reservation held = dir.reservation();
  const auto owner = dir.owner();
  boost::json::object out{{"name", dir.name()}, {"phase", phase_of(dir, state)}, {"cpus", held.cpus.to_string()}};
  out["pid"] = owner ? boost::json::value(owner->pid) : boost::json::value(nullptr);
  out["qemu"] = state.qemu ? boost::json::value(state.qemu->pid) : boost::json::value(nullptr);
  out["pages"] = topology::json::write(held.pages);
  out["since"] = state.since;
  return out;
}

std::string pages_text(const topology::Reservation& held) {
  std::string text;
  for (const topology::PageClaim& claim : held.pages)
    text +=
        fmt::format("{}{} x {} on node {}", text.empty() ? "" : ", ", claim.pages, to_string(claim.page), claim.node);
  return text.empty() ? "-" : text;
}

}  // namespace

int list(const Options& options) {
  const std::vector<VmDir> dirs = VmDir::all(run_base());
  if (options.flag("json")) {
    boost::json::array out;
    for (const VmDir& dir : dirs) out.push_back(summary(dir));
    print_json(out);
    return done;
  }
  if (dirs.empty()) {
    print("no VM runs here\n");
    return done;
  }
  std::string text = fmt::format("{:<20} {:<9} {:>8} {:<14} {}\n", "NAME", "PHASE", "QEMU", "CPUS", "HUGE PAGES");
  for (const VmDir& dir : dirs) {
    const State state = dir.read_state();
    const topology::Reservation held = dir.reservation();
    text += fmt::format("{:<20} {:<9} {:>8} {:<14} {}\n", dir.name(), phase_of(dir, state),
                        state.qemu ? std::to_string(state.qemu->pid) : "-",
                        held.cpus.empty() ? "-" : held.cpus.to_string(), pages_text(held));
  }
  print(text);
  return done;
}

int show(const Options& options) {
  const VmDir dir = named_vm(options);
  const State state = dir.read_state();
  if (options.flag("json")) {
    boost::json::object out = summary(dir);
    out["threads"] = thread_report_json(dir);
    out["controls"] = control_report_json(dir);
    out["memory"] = memory_report_json(dir);
    out["interrupts"] = interrupt_report_json(dir);
    out["plan"] = dir.read_plan().value_or(nullptr);
    print_json(out);
    return done;
  }
  std::string text = fmt::format("VM {}: {}", dir.name(), phase_of(dir, state));
  if (state.qemu) text += fmt::format(", QEMU pid {}", state.qemu->pid);
  if (state.since > 0)
    text += fmt::format(", since {:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(state.since)));
  text += fmt::format("\n\n{:>8}  {:<16} {:<20} {:<12} {:<12}\n", "TID", "NAME", "ROLE", "WANTED", "ACTUAL");
  bool all_right = true;
  for (const ThreadReport& thread : report_threads(dir)) {
    all_right = all_right && thread.as_wanted();
    text += fmt::format("{:>8}  {:<16} {:<20} {:<12} {:<12}{}{}\n", thread.tid, thread.name, thread.role,
                        thread.wanted.to_string(), thread.actual.to_string(),
                        thread.fifo > 0 ? fmt::format(" FIFO {}", thread.fifo) : "",
                        thread.as_wanted() ? "" : " NOT AS WANTED");
  }
  const std::vector<ControlReport> controls = report_controls(dir);
  if (!controls.empty()) text += "\n";
  for (const ControlReport& control : controls) {
    const bool lost = control.path.ends_with(".partition") && control.actual != control.wanted;
    all_right = all_right && !lost;
    text += fmt::format("{}: {}{}\n", control.path, printable(control.actual), lost ? " NOT AS WANTED" : "");
  }
  text += fmt::format("\n{:>6}  {:>5}  {:>10}  {}\n", "NODE", "PAGE", "PAGES", "SIZE");
  for (const MemoryReport& part : report_memory(dir)) {
    text += fmt::format("{:>6}  {:>5}  {:>10}  {} MiB\n", part.node, to_string(part.page), part.pages,
                        part.page.count * part.pages >> 20);
  }
  if (const std::vector<Interrupt> interrupts = report_interrupts(dir); !interrupts.empty()) {
    text += fmt::format("\n{:>8}  {:<32} {:<12} {:<12}\n", "IRQ", "NAME", "WANTED", "ACTUAL");
    for (const Interrupt& one : interrupts)
      text += fmt::format("{:>8}  {:<32} {:<12} {:<12}{}\n", one.number, one.name, one.wanted.to_string(),
                          one.actual.to_string(),
                          one.wanted.empty() || one.wanted.contains(one.actual) ? "" : " NOT THERE YET");
  }
  print(text);
  return all_right ? done : failed;
}

int wait(const Options& options) {
  const VmDir dir = named_vm(options);
  const auto owner = dir.owner();
  const int fd = owner ? open_pidfd(*owner) : -1;
  if (fd >= 0) {
    const std::optional<double> timeout = options.number("timeout");
    pollfd waiting{fd, POLLIN, 0};
    int ready = 0;
    do {
      ready = poll(&waiting, 1, timeout ? static_cast<int>(*timeout * 1000) : -1);
    } while (ready < 0 && errno == EINTR);
    close(fd);
    if (ready == 0) throw std::runtime_error("VM " + dir.name() + " still runs");
  }
  if (options.flag("json")) print_json({{"name", dir.name()}, {"ended", true}});
  return done;
}

int recover(const Options& options) {
  LinuxHost machine;
  const Lock lock(run_base());
  const Recovered recovered = recover_dead(machine, run_base());
  if (options.flag("json")) {
    print_json(
        {{"recovered", topology::json::write(recovered.names)}, {"left", topology::json::write(recovered.left)}});
  } else {
    for (const std::string& name : recovered.names) say("put back what VM " + name + " had left");
    for (const std::string& left : recovered.left) say(left);
    if (recovered.names.empty()) say("nothing to recover");
  }
  return recovered.left.empty() ? done : left_over;
}

}  // namespace launcher::commands
