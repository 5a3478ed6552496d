#include "launcher/proof/subject.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <climits>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "launcher/plan/json.hpp"
#include "topology/placement_json.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline proof {

BOOST_DESCRIBE_STRUCT(Promised, (),
                      (accel, qemu_version, uid, placement, pinned, features, core_cookie, partition, run_dir,
                       vhost_workers, spare, functions, guest, args))

namespace {

// A helper's children do its work (passt forks for its sandbox), and theirs.
void add_children(pid_t pid, const std::string& role, const topology::Sysfs& root, std::vector<Helper>& found) {
  for (const std::string& task : root.list(fmt::format("/proc/{}/task", pid))) {
    std::istringstream children(root.read(fmt::format("/proc/{}/task/{}/children", pid, task)).value_or(""));
    for (pid_t child = 0; children >> child;) {
      found.push_back({role, {child, 0}});
      add_children(child, role, root, found);
    }
  }
}

std::vector<Step> steps_of(const boost::json::value& plan) {
  std::vector<Step> steps;
  for (const boost::json::value& planned : plan.at("steps").as_array()) {
    auto step = step_from_json(planned.at("step"));
    if (!step) throw std::runtime_error("its plan has a step that this vmrun does not know: " + step.error());
    steps.push_back(std::move(*step));
  }
  return steps;
}

// Whether one of the kernel's threads that work for the VM may be no task of QEMU's own. vhost's (since Linux 6.4) and KVM's (6.12) are
// tasks of QEMU's, the PIT's never is, and of what extra_args brings nothing is known.
bool may_have_kernel_threads(const Subject& subject) {
  const auto in_qemu = [&](std::string_view start) {
    return std::ranges::count_if(subject.threads, [&](const Thread& one) { return one.name.starts_with(start); });
  };
  if (std::ranges::any_of(subject.plan.args, [](const Arg& arg) { return arg.origin == "extra_args"; })) return true;
  if (!subject.plan.vhost_workers || in_qemu("vhost-") < static_cast<std::ptrdiff_t>(*subject.plan.vhost_workers))
    return true;
  const bool has_pit =
      std::ranges::none_of(arguments(subject, "-machine"), [](const Keys& keys) { return key(keys, "pit") == "off"; });
  return subject.plan.accel == "kvm" && (has_pit || in_qemu("kvm-nx-lpage-re") == 0);
}

std::string text_of(const boost::json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_bool()) return value.get_bool() ? "on" : "off";
  return boost::json::serialize(value);
}

}  // namespace

Subject look_at_record(const VmDir& dir) {
  Subject subject;
  auto plan = dir.read_plan();
  subject.state = dir.read_state();
  if (!plan || !subject.state.qemu || !is_alive(*subject.state.qemu))
    throw std::runtime_error("VM " + dir.name() + " does not run (yet)");
  try {
    subject.plan = topology::json::read<Promised>(*plan);
    subject.steps = steps_of(*plan);
  } catch (const std::exception& error) {
    throw std::runtime_error("what was planned for VM " + dir.name() + " cannot be read: " + error.what());
  }
  subject.record = std::move(*plan);
  subject.qemu = subject.state.qemu->pid;
  return subject;
}

void look_at_kernel(Subject& subject, Looking how) {
  subject.threads = threads_of(*subject.state.qemu, subject.state.threads, false);
  if (how == Looking::thoroughly && may_have_kernel_threads(subject))
    std::ranges::move(kernel_threads_of(*subject.state.qemu), std::back_inserter(subject.threads));
  if (how == Looking::thoroughly) subject.files = open_files(subject);
  std::vector<Helper> helpers = subject.state.helpers;
  for (const Helper& helper : subject.state.helpers)
    add_children(helper.process.pid, helper.role, subject.root, helpers);
  std::ranges::move(threads_of(helpers), std::back_inserter(subject.threads));
  // what is to be proved is how many huge pages it has of the one node that there is: their sum says it
  const topology::Bytes page = subject.plan.placement.page;
  const bool by_sum = how == Looking::thoroughly && page.count > small_page && topology::only_node();
  if (by_sum) subject.maps_file = "status";
  auto maps = by_sum ? topology::read_huge_pages(subject.qemu, page) : topology::read_numa_maps(subject.qemu);
  if (maps)
    subject.maps = std::move(*maps);
  else
    subject.no_maps = maps.error();
}

Subject look_at(const VmDir& dir, ::qmp::Client* monitor, Looking how) {
  Subject subject = look_at_record(dir);
  look_at_kernel(subject, how);
  subject.monitor = monitor;
  return subject;
}

std::optional<std::string> field(const Subject& subject, const std::string& path, std::string_view key) {
  return field_in(subject.root.read(path).value_or(""), key);
}

std::optional<std::string> field_in(const std::string& text, std::string_view key) {
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const std::size_t from = line.find_first_not_of(" \t", key.size() + 1);
    return std::string(from == line.npos ? "" : line.substr(from));
  }
  return std::nullopt;
}

std::string target_of(const Subject& subject, const std::string& fd) {
  std::array<char, PATH_MAX> target{};
  const std::string path = subject.root.at(fmt::format("/proc/{}/fd/{}", subject.qemu, fd)).string();
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  return size < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(size));
}

std::map<std::string, std::string> open_files(const Subject& subject) {
  std::map<std::string, std::string> files;
  for (const std::string& fd : subject.root.list(fmt::format("/proc/{}/fd", subject.qemu)))
    if (std::string target = target_of(subject, fd); !target.empty()) files[fd] = std::move(target);
  return files;
}

bool is_bound(const Subject& subject, pid_t task) {
  const auto stat = topology::parse_stat(subject.root.read(fmt::format("/proc/{}/stat", task)).value_or(""));
  return !stat || stat->bound;
}

std::string key(const Keys& keys, const std::string& name) {
  const auto found = keys.find(name);
  return found == keys.end() ? std::string() : found->second;
}

Keys keys_of(const std::string& value) {
  Keys keys;
  if (value.starts_with('{')) {
    const boost::json::value json = boost::json::parse(value);
    for (const auto& [key, member] : json.get_object()) keys[std::string(key)] = text_of(member);
    return keys;
  }
  std::string part;
  const auto put = [&] {
    const std::size_t sign = part.find('=');
    if (sign == std::string::npos)
      keys[""] = part;
    else
      keys[part.substr(0, sign)] = part.substr(sign + 1);
    part.clear();
  };
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != ',') {
      part += value[i];
    } else if (i + 1 < value.size() && value[i + 1] == ',') {
      part += ',';
      ++i;
    } else {
      put();
    }
  }
  if (!part.empty()) put();
  return keys;
}

std::vector<Keys> arguments(const Subject& subject, std::string_view option) {
  std::vector<Keys> found;
  for (const Arg& arg : subject.plan.args)
    if (arg.option == option && arg.origin != "extra_args") found.push_back(keys_of(arg.value));
  return found;
}

bool is_given(const Subject& subject, std::string_view option, const std::string& name, std::string_view value) {
  return std::ranges::any_of(arguments(subject, option), [&](const Keys& keys) { return key(keys, name) == value; });
}

Answer ask(const Subject& subject, const ::qmp::Command& command) {
  if (subject.monitor == nullptr) return {{}, "QEMU's monitor is held by somebody else"};
  try {
    return {subject.monitor->execute(command, std::chrono::seconds(5)), ""};
  } catch (const std::exception& error) {
    return {{}, error.what()};
  }
}

}  // namespace launcher::proof
