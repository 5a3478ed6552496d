// The plan's command line for a shell: open files by their paths, taps by name, sockets in a directory of the script's own. What needs
// vmrun (its helpers, its pins, its limits) is left out and reported.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "launcher/devices/qemu_args.hpp"
#include "launcher/import/export.hpp"

namespace launcher::inline import {

namespace {

constexpr std::string_view own_directory =
    "@ directory of the script @";  // stands for it until words are quoted, and has them quoted

struct Script {
  std::map<int, std::string> files;  // fd -> what stands for it in the arguments
  std::string before, after;         // lines around QEMU
  std::map<int, const MakeTap*> taps;
  std::map<int, std::string> open_taps;
  Report report;

  void row(const std::string& path, Verb verb, const std::string& words) {
    report.push_back({path, 0, "", verb, words});
  }
};

std::string quoted_word(const std::string& word) {
  std::string line = shell_line({word});
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  return line;
}

// Each kind of step: what the script does in its place, or that it does nothing.
struct OfStep {
  Script& script;
  const std::string& described;

  void operator()(const OpenFile& step) const { script.files[step.fd] = step.path; }
  void operator()(const HoldPath& step) const { script.files[step.fd] = step.path; }
  void operator()(const Listen& step) const {
    script.files[step.fd] = std::string(own_directory) + step.path.substr(step.path.rfind('/'));
  }
  void operator()(const OpenLog& step) const { script.files[step.fd] = step.path; }
  void operator()(const RaisePool& step) const {
    const std::string file = fmt::format("/sys/devices/system/node/node{}/hugepages/hugepages-{}kB/nr_hugepages",
                                         step.node, step.page.count >> 10);
    script.before += fmt::format("echo $(($(cat {0}) + {1})) >{0}\n", file, step.pages);
    script.after += fmt::format("  echo $(($(cat {0}) - {1})) >{0} || true\n", file, step.pages);
  }
  void operator()(const MakeTap& step) const {
    for (const int fd : step.fds) script.taps[fd] = &step;
    const std::string name = quoted_word(step.name);
    script.before += fmt::format("ip tuntap add dev {} mode tap{}\n", name, step.fds.size() > 1 ? " multi_queue" : "");
    script.after +=
        fmt::format("  ip tuntap del dev {} mode tap{} || true\n", name, step.fds.size() > 1 ? " multi_queue" : "");
    if (step.mtu) script.before += fmt::format("ip link set {} mtu {}\n", name, *step.mtu);
    script.before +=
        fmt::format("ip link set {}{} up\n", name, step.bridge.empty() ? "" : " master " + quoted_word(step.bridge));
  }
  void operator()(const OpenTap& step) const {
    for (const int fd : step.fds) script.open_taps[fd] = step.name;
  }
  void operator()(const OpenVhost&) const {}
  void operator()(const StartQemu&) const {}
  template <class Step>
  void operator()(const Step&) const {
    script.row("step: " + described, Verb::dropped, "vmrun's own; do it before, or do without");
  }
};

// "fds=13:14,vhost=on,vhostfds=15:16" -> "ifname=NAME,script=no,downscript=no,queues=2,vhost=on"
std::string of_tap(Script& script, const std::string& value) {
  static const std::regex fds(",fds?=([0-9:]+)");
  std::smatch found;
  if (!std::regex_search(value, found, fds)) return value;
  const int first = std::stoi(found[1].str());
  const std::string list = found[1].str();
  const auto queues = 1 + std::ranges::count(list, ':');
  const auto made = script.taps.find(first);
  const auto open = script.open_taps.find(first);
  if (made == script.taps.end() && open == script.open_taps.end()) return value;
  const std::string name = made != script.taps.end() ? made->second->name : open->second;
  std::string out =
      std::regex_replace(value, fds, fmt::format(",ifname={},script=no,downscript=no", Opts::quote(name)));
  out = std::regex_replace(out, std::regex(",vhostfds?=[0-9:]+"), "");
  return queues > 1 ? out + fmt::format(",queues={}", queues) : out;
}

// Every fd in the value that is a file, by its path.
std::string with_paths(const Script& script, std::string value) {
  const bool json = value.starts_with('{');
  for (const auto& [fd, path] : script.files) {
    const std::string own = json ? path : Opts::quote(path);
    for (const std::string& form : {fmt::format("/dev/fdset/{}", fd), fmt::format("/proc/self/fd/{}", fd)})
      for (std::size_t at = 0; (at = value.find(form, at)) != value.npos; at += own.size())
        if (const std::size_t end = at + form.size();
            end == value.size() || std::isdigit(static_cast<unsigned char>(value[end])) == 0)
          value.replace(at, form.size(), own);
        else
          at = end - own.size();
    static const std::regex number("(,|^)fd=([0-9]+)");
    std::smatch found;
    if (std::regex_search(value, found, number) && found[2].str() == std::to_string(fd))
      value = std::regex_replace(value, number, fmt::format("$1path={}", own));
  }
  return value;
}

bool has_fd(const std::string& value) {
  static const std::regex fd("(,|^)(fd|fds|vhostfds|vhostfd)=[0-9]|/dev/fdset/[0-9]|/proc/self/fd/[0-9]");
  return std::regex_search(value, fd);
}

std::string id_of(const std::string& value) {
  static const std::regex id(",id=([^,]+)|\"id\":\"([^\"]+)\"");
  std::smatch found;
  if (!std::regex_search(value, found, id)) return {};
  return found[1].matched ? found[1].str() : found[2].str();
}

// What hangs on something that was left out: "netdev=net0-host", "chardev:control".
bool hangs_on(const std::string& value, const std::set<std::string>& gone) {
  return std::ranges::any_of(gone, [&](const std::string& id) {
    const std::regex use("([=:]|^)" + std::regex_replace(id, std::regex("[^A-Za-z0-9_-]"), "\\$&") + "(,|$)");
    return std::regex_search(value, use);
  });
}

std::vector<std::string> arguments(Script& script, const LaunchPlan& plan) {
  std::vector<std::string> argv{plan.qemu};
  std::set<std::string> gone;
  for (const Arg& arg : plan.args) {
    if (arg.option == "-S" || arg.option == "-add-fd") continue;
    std::string value = arg.option == "-netdev" ? of_tap(script, arg.value) : arg.value;
    value = with_paths(script, value);
    if (id_of(value) == "console" && arg.option == "-chardev" && plan.console_on_stdio)
      value = "stdio,id=console,signal=off";
    const bool control = arg.option == "-chardev" && id_of(value) == "control";
    if (control || has_fd(value) || hangs_on(value, gone)) {
      if (const std::string id = id_of(value); !id.empty()) gone.insert(id);
      if (!control && value != "chardev:control")
        script.row(arg.option + " " + value, Verb::dropped,
                   "an open file of vmrun's, or of a process beside QEMU: " + arg.why);
      continue;
    }
    argv.push_back(arg.option);
    if (!value.empty()) argv.push_back(value);
  }
  return argv;
}

// The directory's variable stands outside of the word's quotes.
std::string with_directory(std::string line) {
  constexpr std::string_view variable = "'\"$dir\"'";
  for (std::size_t at = 0; (at = line.find(own_directory, at)) != line.npos; at += variable.size())
    line.replace(at, own_directory.size(), variable);
  return line;
}

}  // namespace

Exported export_shell(const LaunchPlan& plan, Runner runner) {
  Script script;
  for (const PlannedStep& one : plan.steps) {
    const std::string described = describe(one.step);
    std::visit(OfStep{script, described}, one.step);
  }
  const std::vector<std::string> argv = arguments(script, plan);
  if (plan.pinned)
    script.row("cpu.pin", Verb::dropped,
               fmt::format("vCPUs float on {}, QEMU's other threads as well", plan.placement.exclusive.to_string()));
  if (plan.vcpu_fifo > 0 || plan.iothread_fifo > 0) script.row("schedule", Verb::dropped, "no real-time priorities");
  if (plan.uid) script.row("user", Verb::dropped, "QEMU runs as who starts it, in its /dev");
  const topology::CpuSet cpus = plan.placement.exclusive | plan.placement.emulator;
  std::string prefix;
  if (runner == Runner::systemd_run)
    prefix = fmt::format("systemd-run --collect --pty --unit={}{} \\\n  ", quoted_word("vm-" + plan.name),
                         cpus.empty() ? "" : fmt::format(" --property=CPUAffinity={}", cpus.to_string()));
  else if (plan.pinned)
    prefix = fmt::format("taskset -c {} \\\n  ", cpus.to_string());
  const std::string line = with_directory(shell_line(argv));
  Exported result;
  result.text = fmt::format(
      "#!/bin/bash\n# VM {}, by `vmrun export`: QEMU alone. What this cannot do is in that command's report.\nset -eu\n"
      "dir=$(mktemp -d)\nclean_up() {{\n  rm -rf \"$dir\"\n{}}}\ntrap clean_up EXIT\n{}{}{}",
      plan.name, script.after, script.before, prefix, line);
  if (!result.text.ends_with('\n')) result.text += '\n';
  result.report = std::move(script.report);
  return result;
}

}  // namespace launcher::import
