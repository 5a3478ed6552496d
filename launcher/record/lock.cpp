// Gathering a lock: the plan's deciding parts, the files that its steps open, and the host's facts.
#include "launcher/record/lock.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "launcher/record/libraries.hpp"
#include "launcher/record/plan_parts.hpp"
#include "launcher/record/roms.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

// What of a plan decides; the rest tells why, or is derived from these.
constexpr std::array deciding{"accel",    "uid",           "placement",     "iothreads",   "pinned",
                              "features", "vcpu_fifo",     "iothread_fifo", "core_cookie", "partition",
                              "groups",   "vhost_workers", "spare",         "functions"};

// "1:7.2+dfsg-7+deb12u18": of Debian's package that has this file; "" without one.
std::string package_of(const topology::Sysfs& root, const std::string& program) {
  constexpr std::string_view info = "/var/lib/dpkg/info", ending = ".list";
  std::string owner;
  for (const std::string& name : root.list(info)) {
    if (!name.starts_with("qemu") || !name.ends_with(ending)) continue;
    std::ifstream list(root.at(fmt::format("{}/{}", info, name)));
    for (std::string line; owner.empty() && std::getline(list, line);)
      if (line == program) owner = name.substr(0, name.size() - ending.size());
  }
  if (owner.empty()) return "";
  std::ifstream status(root.at("/var/lib/dpkg/status"));
  bool its = false;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Package: ")) its = line.substr(9) == owner.substr(0, owner.find(':'));
    if (its && line.starts_with("Version: ")) return fmt::format("{} {}", owner, line.substr(9));
  }
  return "";
}

struct Wanted {
  std::string path, role, use;
};

// The files that one step gives to QEMU or runs.
void add_files_of(const std::string& kind, const json::object& step, const std::string& role,
                  std::vector<Wanted>& found) {
  if (kind == "open_file") {
    const json::value* writable = step.if_contains("writable");
    const bool written = writable != nullptr && writable->is_bool() && writable->get_bool();
    found.push_back({text_or_none(step, "path"), role, written ? "written" : "read-only"});
  } else if (kind == "give_file") {
    found.push_back({text_or_none(step, "path"), role, "written"});
  } else if (kind == "copy_once") {
    found.push_back({text_or_none(step, "from"), role, "read-only"});
  } else if (kind == "make_image") {
    found.push_back({text_or_none(step, "qemu_img"), "qemu-img", "program"});
    // the overlay comes right after what it stands on
    if (text_or_none(step, "name").empty())
      for (Wanted& below : found)
        if (below.role == role || role.starts_with(below.role.substr(0, below.role.find('.'))))
          if (below.use == "read-only" && below.role.starts_with("disk")) below.use = "below an overlay";
  } else if (kind == "start_helper") {
    const json::value* child = step.if_contains("child");
    const json::value* argv =
        child != nullptr && child->is_object() ? child->get_object().if_contains("argv") : nullptr;
    if (argv != nullptr && argv->is_array() && !argv->get_array().empty() && argv->get_array()[0].is_string())
      found.push_back(
          {std::string(argv->get_array()[0].get_string()), "helper " + text_or_none(step, "role"), "program"});
  }
}

std::vector<Wanted> files_of(const json::object& plan) {
  std::vector<Wanted> found{{text_or_none(plan, "qemu"), "qemu", "program"}};
  for (const PlanStep& planned : steps_of(plan)) add_files_of(planned.kind, *planned.step, planned.role, found);
  return found;
}

// A device (/dev/kvm), a directory or what is not there (yet) has no bytes to tell apart.
bool has_bytes(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode));
}

LockedFile locked(const Wanted& wanted, const LockTelling& telling) {
  LockedFile file{wanted.path, wanted.role, wanted.use, "", ""};
  const auto identity = identity_of_file(wanted.path, telling.progress);
  file.algorithm = identity ? identity->algorithm : "";
  file.digest = identity ? identity->digest : "cannot be told: " + identity.error();
  if (identity && telling.identified) telling.identified(file, *identity);
  return file;
}

void add_program_facts(Groups& facts, const std::string& group, const std::string& program) {
  if (const auto identity = identity_of_program(program)) facts[group]["build id"] = identity->digest;
}

// QEMU's, and those of its helpers that are not the same file.
Values all_libraries(const std::string& qemu, const std::vector<LockedFile>& files) {
  Values found = library_facts(qemu);
  const Values of_qemu = found;
  for (const LockedFile& file : files) {
    if (!file.role.starts_with("helper ")) continue;
    for (const auto& [name, value] : library_facts(file.path))
      if (const auto same = of_qemu.find(name); same == of_qemu.end() || same->second != value)
        found[name + " of " + file.role] = value;
  }
  return found;
}

}  // namespace

bool is_image(const LockedFile& file) { return file.role.starts_with("disk") || file.role.starts_with("nvdimm"); }

LaunchLock make_lock(const std::string& spec, const json::object& plan, const HostSource& source,
                     const LockTelling& telling) {
  LaunchLock lock;
  lock.name = text_or_none(plan, "name");
  lock.spec = spec;
  for (const char* key : deciding)
    if (const json::value* value = plan.if_contains(key)) lock.plan[key] = *value;
  if (json::value* placement = lock.plan.if_contains("placement"); placement != nullptr && placement->is_object())
    placement->get_object().erase("notes");
  if (const json::value* argv = plan.if_contains("argv"); argv != nullptr && argv->is_array())
    lock.argv = argv->get_array();
  if (const json::value* steps = plan.if_contains("steps"); steps != nullptr && steps->is_array())
    for (const json::value& planned : steps->get_array())
      if (planned.is_object())
        if (const json::value* step = planned.get_object().if_contains("step")) lock.steps.push_back(*step);
  std::map<std::string, LockedFile> files;
  const std::string qemu = text_or_none(plan, "qemu");
  std::vector<Wanted> all = files_of(plan);
  for (const std::string& rom : roms_of(qemu, lock.argv)) all.push_back({rom, "QEMU's ROM", "read-only"});
  for (const Wanted& wanted : all)
    if (!files.contains(wanted.path) && has_bytes(wanted.path)) files[wanted.path] = locked(wanted, telling);
  for (auto& [path, file] : files) lock.files.push_back(std::move(file));
  lock.facts = host_facts(source);
  lock.effective = effective_values(source);
  if (Values storage = storage_facts(source.root, lock.files); !storage.empty())
    lock.facts["storage"] = std::move(storage);
  if (Values cards = card_facts(source.root, plan); !cards.empty()) lock.facts["cards"] = std::move(cards);
  add_program_facts(lock.facts, "qemu", qemu);
  if (Values libraries = all_libraries(qemu, lock.files); !libraries.empty())
    lock.facts["libraries"] = std::move(libraries);
  if (const std::string package = package_of(source.root, qemu); !package.empty())
    lock.facts["qemu"]["package"] = package;
  lock.facts["qemu"]["version"] = text_or_none(plan, "qemu_version");
  add_program_facts(lock.facts, "vmrun", "/proc/self/exe");
  return lock;
}

}  // namespace launcher::record
