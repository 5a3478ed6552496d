// The plan's command line for a shell: open files by their paths, taps by name, sockets in a directory of the script's own. What needs
// vmrun (its helpers, its pins, its limits) is left out and reported.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <map>
#include <regex>
#include <set>

#include "launcher/devices/qemu_args.hpp"
#include "launcher/devices/qemu_members.hpp"
#include "launcher/import/export.hpp"
#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

constexpr std::string_view own_directory =
    "@ directory of the script @";  // stands for it until words are quoted, and has them quoted

struct Script {
  std::map<int, std::string> files;               // fd -> what stands for it in the arguments
  std::map<std::string, topology::Bytes> memory;  // QEMU's object -> the pages that vmrun would have made for it
  std::string before, after;                      // lines around QEMU
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
  void operator()(const TakeUsb& step) const { script.files[step.fd] = step.node; }
  void operator()(const OpenTap& step) const {
    for (const int fd : step.fds) script.open_taps[fd] = step.name;
  }
  void operator()(const MakeGuestMemory& step) const { script.memory[step.id] = step.page; }
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
  const auto replaced = [&](std::string_view form, std::string_view put) {
    for (std::size_t at = 0; (at = value.find(form, at)) != value.npos;) {
      const std::size_t digits = at + form.size();
      int fd = -1;
      const auto [end, error] = std::from_chars(value.data() + digits, value.data() + value.size(), fd);
      const auto file = script.files.find(fd);
      const bool begins = put.empty() || at == 0 || value[at - 1] == ',';
      if (error != std::errc{} || file == script.files.end() || !begins) {
        at = digits;
        continue;
      }
      const std::string path = std::string(put) + (json ? file->second : Opts::quote(file->second));
      value.replace(at, static_cast<std::size_t>(end - value.data()) - at, path);
      at += path.size();
    }
  };
  replaced("/dev/fdset/", "");
  replaced("/proc/self/fd/", "");
  replaced("fd=", "path=");
  if (value.starts_with("vhost-vdpa,")) replaced("vhostfd=", "vhostdev=");
  return value;
}

// The guest's memory, which QEMU makes itself where vmrun does not.
std::string made_by_qemu(const Script& script, const std::string& value) {
  if (!value.starts_with("{\"qom-type\":\"memory-backend-file\"")) return value;
  boost::json::object memory = boost::json::parse(value).as_object();
  const auto made = script.memory.find(std::string(memory.at("id").as_string()));
  if (made == script.memory.end()) return value;
  memory["qom-type"] = "memory-backend-memfd";
  memory.erase("mem-path");
  memory["hugetlb"] = true;
  memory["hugetlbsize"] = made->second.count;
  return boost::json::serialize(memory);
}

bool is_number(std::string_view text) { return !text.empty() && text.front() >= '0' && text.front() <= '9'; }

bool has_fd(const Members& members) {
  return std::ranges::any_of(members, [](const auto& one) {
    const auto& [key, value] = one;
    for (const std::string_view form : {"/dev/fdset/", "/proc/self/fd/"})
      if (const std::size_t at = value.find(form); at != value.npos && is_number(value.substr(at + form.size())))
        return true;
    return (key == "fd" || key == "fds" || key == "vhostfd" || key == "vhostfds") && is_number(value);
  });
}

// What hangs on something that was left out: "netdev=net0-host", "chardev:control".
bool hangs_on(const Members& members, const std::set<std::string>& gone) {
  return std::ranges::any_of(members, [&](const auto& one) {
    const std::string& value = one.second;
    return gone.contains(value) || gone.contains(value.substr(value.rfind(':') + 1));
  });
}

std::vector<std::string> arguments(Script& script, const LaunchPlan& plan) {
  std::vector<std::string> argv{plan.qemu};
  std::set<std::string> gone;
  for (const Arg& arg : plan.args) {
    if (arg.option == "-S" || arg.option == "-add-fd") continue;
    std::string value = arg.option == "-netdev" ? of_tap(script, arg.value) : arg.value;
    value = with_paths(script, arg.option == "-object" ? made_by_qemu(script, value) : value);
    const std::string id = member(members_of(value), "id");
    if (id == "console" && arg.option == "-chardev" && plan.console_on_stdio) value = "stdio,id=console,signal=off";
    const bool control = arg.option == "-chardev" && id == "control";
    if (const Members members = members_of(value); control || has_fd(members) || hangs_on(members, gone)) {
      if (!id.empty()) gone.insert(id);
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

// What a process of vmrun's own, or a file that it makes at each start, gives the guest: by the spec's keys.
struct Served {
  Script& script;
  std::map<std::string, unsigned> counts = {};

  void drop(const std::string& key, const char* words) { script.row(key, Verb::dropped, words); }
  std::string key(const char* table) { return fmt::format("{}[{}]", table, counts[table]++); }
  void operator()(const Share&) { drop(key("share"), "no virtiofsd is started: the guest lacks this directory"); }
  void operator()(const Tpm&) { drop("tpm", "no swtpm is started: the guest has no TPM"); }
  void operator()(const Guest&) { drop("guest", "run what `vmrun guest-setup` prints in the guest"); }
  void operator()(const CloudInit&) { drop("cloud_init", "give the guest a seed image of its own"); }
  void operator()(const Nic& nic) {
    const std::string name = key("net");
    if (nic.mode == Nic::Mode::passt) drop(name, "no passt is started: the guest lacks this card");
  }
  void operator()(const Usb&) { script.row(key("usb"), Verb::changed, "by its place of now, which plugging changes"); }
  void operator()(const Pci& pci) {
    const std::string name = key("pci");
    const char* chosen = "the function that was free now";
    if (!pci.class_name.empty()) script.row(name + ".class", Verb::changed, chosen);
    if (pci.node) script.row(name + ".node", Verb::changed, chosen);
    if (!pci.vf_of.empty()) script.row(name + ".vf_of", Verb::changed, chosen);
  }
  void operator()(const Console& console) {
    if (!console.log.empty()) drop("console.log_size", "the log has no end");
  }
  void operator()(const Serial& serial) {
    const std::string name = key("serial");
    if (!serial.log.empty()) script.row(name + ".log_size", Verb::dropped, "the log has no end");
  }
  template <class Kind>
  void operator()(const Kind&) {}
};

void served_by_vmrun(Script& script, const Spec& spec) {
  Served served{script};
  for (const Device& device : spec.devices) std::visit(served, device);
}

}  // namespace

namespace {

// What a unit's own group does: systemd makes it, with the controllers that its properties need.
bool is_of_unit(const PlannedStep& one, const std::string& described) {
  return one.origin == "spec schedule.weight" || one.origin == "spec schedule.quota" ||
         (one.origin == "host" && described.find("cgroup.subtree_control") != std::string::npos);
}

}  // namespace

Exported export_shell(const Spec& spec, const LaunchPlan& plan, Runner runner) {
  Script script;
  for (const PlannedStep& one : plan.steps) {
    const std::string described = describe(one.step);
    if (runner == Runner::systemd_run && is_of_unit(one, described)) continue;
    std::visit(OfStep{script, described}, one.step);
  }
  const std::vector<std::string> argv = arguments(script, plan);
  if (plan.pinned)
    script.row("cpu.pin", Verb::dropped,
               fmt::format("vCPUs float on {}, QEMU's other threads as well", plan.placement.exclusive.to_string()));
  if (plan.vcpu_fifo > 0 || plan.iothread_fifo > 0) script.row("schedule", Verb::dropped, "no real-time priorities");
  served_by_vmrun(script, spec);
  report_policies(spec, plan, script.report);
  if (plan.uid) script.row("user", Verb::dropped, "QEMU runs as who starts it, in its /dev");
  const topology::CpuSet cpus = plan.placement.exclusive | plan.placement.emulator;
  std::string prefix;
  if (runner == Runner::systemd_run)
    prefix = fmt::format("systemd-run --collect --pty --unit={}{}{}{} \\\n  ", quoted_word("vm-" + plan.name),
                         cpus.empty() ? "" : fmt::format(" --property=CPUAffinity={}", cpus.to_string()),
                         spec.schedule.weight ? fmt::format(" --property=CPUWeight={}", *spec.schedule.weight) : "",
                         spec.schedule.quota ? fmt::format(" --property=CPUQuota={}%", *spec.schedule.quota) : "");
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
