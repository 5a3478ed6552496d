#include "launcher/tune/persist.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <system_error>

#include "launcher/host/fd.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline tune {

namespace fs = std::filesystem;

BOOST_DESCRIBE_STRUCT(DropIn, (), (path, text, link))

namespace {

constexpr const char* header = "# Written by `vmrun host tune --persist`; `vmrun host unpersist` removes it.\n";

// "/sys/devices/system/cpu/cpu7/x" -> "/sys/devices/system/cpu/cpu[0-9]*/x": the next boot may have other CPUs.
std::string of_every_cpu(const std::string& path) {
  const std::string start = "/sys/devices/system/cpu/cpu";
  if (!path.starts_with(start) || path.size() <= start.size() || path[start.size()] < '0' || path[start.size()] > '9')
    return path;
  return start + "[0-9]*" + path.substr(path.find('/', start.size()));
}

// "/sys/module/kvm/parameters/x" -> {"kvm", "x"}
std::pair<std::string, std::string> parameter_of(const std::string& path) {
  const std::string rest = path.substr(std::string_view("/sys/module/").size());
  return {rest.substr(0, rest.find('/')), rest.substr(rest.rfind('/') + 1)};
}

void add_word(std::string& words, const std::string& word) { words += (words.empty() ? "" : " ") + word; }

std::string unit_of(const std::set<std::string>& writes) {
  std::string text = std::string(header) +
                     "[Unit]\nDescription=Settings for virtual machines that no drop-in file can make\n"
                     "After=local-fs.target systemd-modules-load.service systemd-udev-trigger.service\n\n"
                     "[Service]\nType=oneshot\nRemainAfterExit=yes\n";
  for (const std::string& write : writes) text += "ExecStart=-/bin/sh -c '" + write + "'\n";
  return text + "\n[Install]\nWantedBy=multi-user.target\n";
}

// A module of this kernel that is not built into it.
bool is_module(const Audit& audit, const std::string& name) {
  if (audit.exists("/sys/module/" + name)) return audit.exists("/sys/module/" + name + "/initstate");
  const std::string release = audit.text("/proc/sys/kernel/osrelease").value_or("");
  return audit.text("/lib/modules/" + release + "/modules.dep").value_or("").find("/" + name + ".ko") !=
         std::string::npos;
}

// What only a boot can do; the profile that wants it most gets the words of guides 002 and 003.
std::string boot_words(const Tuning& tuning, const Audit& audit) {
  std::string words;
  const topology::CpuSet keep = topology::default_housekeeping(audit.host());
  const topology::CpuSet apart = audit.host().all_cpus() - keep;
  if (tuning.profile == "latency" && !keep.empty() && audit.isolated().empty())
    words = fmt::format("isolcpus=domain,managed_irq,{0} nohz_full={0} rcu_nocbs={0} irqaffinity={1}",
                        apart.to_string(), keep.to_string());
  return words;
}

std::optional<std::string> content(const fs::path& path) {
  std::error_code error;
  if (fs::is_symlink(path, error)) return fs::read_symlink(path, error).string();
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

bool is_ours(const DropIn& file, const fs::path& etc) {
  const fs::path path = etc / file.path;
  std::error_code error;
  return fs::is_symlink(path, error) == file.link && content(path) == file.text;
}

fs::path beside(const fs::path& path) { return path.string() + ".vmrun-new"; }

// All or nothing, whatever ends us: the name appears with its whole content.
void write_file(const fs::path& path, const std::string& text, bool link) {
  fs::create_directories(path.parent_path());
  fs::remove(beside(path));
  if (link) {
    fs::create_symlink(text, beside(path));
  } else {
    const Fd fd = opened_or_refuse(open(beside(path).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644),
                                   "make " + beside(path).string());
    if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(fd.get()) < 0)
      refuse("write " + path.string());
  }
  fs::rename(beside(path), path);
}

fs::path manifest_of(const fs::path& state) { return state / ".host-persisted.json"; }

std::vector<DropIn> read_manifest(const fs::path& state) {
  const auto text = content(manifest_of(state));
  if (!text) return {};
  try {
    return topology::json::read<std::vector<DropIn>>(boost::json::parse(*text), "manifest");
  } catch (const std::exception& error) {
    throw std::runtime_error(fmt::format("cannot read {}: {}", manifest_of(state).string(), error.what()));
  }
}

void write_manifest(const std::vector<DropIn>& files, const fs::path& state) {
  if (files.empty())
    fs::remove(manifest_of(state));
  else
    write_file(manifest_of(state), boost::json::serialize(topology::json::write(files)) + "\n", false);
}

}  // namespace

Lasting lasting_of(const Tuning& tuning, const Audit& audit) {
  Lasting lasting{.files = {}, .boot = boot_words(tuning, audit)};
  std::string sysctls;
  std::set<std::string> tmpfiles, writes;
  std::map<std::string, std::string> options;
  std::map<std::string, std::set<std::string>> values;  // of CPUs of different kinds
  for (const SettingChange& change : tuning.changes) values[of_every_cpu(change.path)].insert(change.to);
  for (const SettingChange& change : tuning.changes) {
    const std::string all = of_every_cpu(change.path), path = values[all].size() == 1 ? all : change.path;
    if (path.starts_with("/proc/sys/")) {
      std::string key = path.substr(std::string_view("/proc/sys/").size());
      std::replace(key.begin(), key.end(), '/', '.');
      sysctls += fmt::format("{} = {}\n", key, change.to);
    } else if (path.starts_with("/sys/module/")) {
      const auto [module, name] = parameter_of(path);
      if (is_module(audit, module))
        options[module] += fmt::format(" {}={}", name, change.to);
      else
        add_word(lasting.boot, fmt::format("{}.{}={}", module, name, change.to));
    } else if (path.starts_with("/sys/block/")) {  // disks may appear later than systemd-tmpfiles runs
      writes.insert(fmt::format("echo {} > {}", change.to, path));
    } else {
      tmpfiles.insert(fmt::format("w {} - - - - {}\n", path, change.to));
    }
  }
  const auto add = [&](const char* path, const std::string& text) {
    if (!text.empty()) lasting.files.push_back({path, std::string(header) + text});
  };
  add("sysctl.d/90-vmrun.conf", sysctls);
  std::string lines;
  for (const std::string& line : tmpfiles) lines += line;
  add("tmpfiles.d/vmrun.conf", lines);
  lines.clear();
  for (const auto& [module, words] : options) lines += fmt::format("options {}{}\n", module, words);
  add("modprobe.d/vmrun.conf", lines);
  if (tuning.profile != "lab" && is_module(audit, "vhost_net")) add("modules-load.d/vmrun.conf", "vhost_net\n");
  if (!writes.empty()) {
    lasting.files.push_back({"systemd/system/vmrun-settings.service", unit_of(writes)});
    lasting.files.push_back(
        {"systemd/system/multi-user.target.wants/vmrun-settings.service", "../vmrun-settings.service", true});
  }
  return lasting;
}

fs::path etc_dir() {
  const char* given = std::getenv("VMRUN_ETC_DIR");
  return given != nullptr && *given != '\0' ? given : "/etc";
}

std::expected<void, std::string> persist(const std::vector<DropIn>& files, const fs::path& etc, const fs::path& state) {
  const std::vector<DropIn> before = read_manifest(state);
  std::vector<DropIn> both = files;
  for (const DropIn& file : files) {
    if (!is_there(etc / file.path) || is_ours(file, etc)) continue;
    const bool ours =
        std::ranges::any_of(before, [&](const DropIn& one) { return one.path == file.path && is_ours(one, etc); });
    if (!ours)
      return std::unexpected(fmt::format("{} is there already, and is not as vmrun wrote it: move it away first",
                                         (etc / file.path).string()));
  }
  for (const DropIn& file : before)
    if (std::ranges::find(both, file) == both.end()) both.push_back(file);
  write_manifest(both, state);  // whatever is there of old and new can then be removed
  for (const DropIn& file : before) {
    const bool wanted = std::ranges::any_of(files, [&](const DropIn& one) { return one.path == file.path; });
    if (!wanted && is_ours(file, etc)) fs::remove(etc / file.path);
  }
  for (const DropIn& file : files) write_file(etc / file.path, file.text, file.link);
  write_manifest(files, state);
  return {};
}

Unpersisted unpersist(const fs::path& etc, const fs::path& state) {
  Unpersisted result;
  const std::vector<DropIn> files = read_manifest(state);
  std::set<std::string> edited;
  for (const DropIn& file : files) {
    std::error_code none;
    fs::remove(beside(etc / file.path), none);
    if (is_ours(file, etc)) {
      fs::remove(etc / file.path);
      result.removed.push_back((etc / file.path).string());
      edited.erase(file.path);
    } else if (is_there(etc / file.path)) {
      edited.insert(file.path);
    }
  }
  for (const std::string& path : edited)
    result.kept.push_back(
        fmt::format("{} has been edited since vmrun wrote it: yours to remove", (etc / path).string()));
  write_manifest({}, state);  // an edited file is not ours any more
  return result;
}

}  // namespace launcher::tune
