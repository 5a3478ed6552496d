#include "launcher/steps/vm_dir.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/describe/enum.hpp>
#include <boost/json/parse.hpp>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "launcher/steps/records.hpp"
#include "topology/placement_json.hpp"

namespace launcher::inline steps {

namespace fs = std::filesystem;

BOOST_DESCRIBE_ENUM(Phase, starting, running, paused, stopping)
BOOST_DESCRIBE_STRUCT(ThreadRecord, (), (tid, role, cpus, fifo))
BOOST_DESCRIBE_STRUCT(State, (), (phase, qemu, helpers, threads, since, pages_held, left))

namespace {

constexpr const char* host_name = ".host";  // of what `vmrun host tune` changed; no VM can have it

// A record's struct; nullopt where there is none, or none that can be read.
template <class T>
std::optional<T> read_as(const fs::path& path, std::size_t most = records::longest) {
  const auto json = records::read(path, most);
  if (!json || json->is_null()) return std::nullopt;
  try {
    return topology::json::read<T>(*json);
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
}

std::optional<boost::json::value> reservation_in(const boost::json::value& plan) {
  const boost::json::value* found = plan.is_object() ? plan.get_object().if_contains("reservation") : nullptr;
  return found != nullptr ? std::optional(*found) : std::nullopt;
}

// Why a struct cannot be had of a record that is there; "" if it can.
template <class T>
std::string why_not(const boost::json::value& json) {
  try {
    (void)topology::json::read<T>(json);
    return "";
  } catch (const std::invalid_argument& wrong) {
    return wrong.what();
  }
}

}  // namespace

std::expected<VmDir, std::string> VmDir::claim(const fs::path& base, const std::string& name) {
  VmDir dir(base / name, name);
  if (mkdir(dir.path_.c_str(), 0755) < 0) {
    if (errno != EEXIST) throw std::system_error(errno, std::generic_category(), "make " + dir.path_.string());
    const auto owner = dir.owner();
    return std::unexpected(owner && dir.owner_alive()
                               ? fmt::format("a VM of this name runs already (vmrun pid {})", owner->pid)
                               : "what a crash left of a VM of this name could not be put back yet");
  }
  try {
    const auto self = process_id(getpid());
    records::write(dir.path_ / "owner", topology::json::write(self.value()));
  } catch (...) {
    std::error_code ignored;  // a full file system: no name is held that nobody has
    fs::remove_all(dir.path_, ignored);
    throw;
  }
  dir.journal_.remember();
  return dir;
}

std::vector<VmDir> VmDir::all(const fs::path& base) {
  std::vector<VmDir> dirs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(base, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.') && entry.is_directory(error)) dirs.push_back(VmDir(entry.path(), name));
  }
  std::sort(dirs.begin(), dirs.end(), [](const VmDir& a, const VmDir& b) { return a.name_ < b.name_; });
  return dirs;
}

std::optional<VmDir> VmDir::find(const fs::path& base, const std::string& name) {
  if (name.empty() || name.starts_with('.') || name.find('/') != std::string::npos) return std::nullopt;
  std::error_code error;
  if (!fs::is_directory(base / name, error)) return std::nullopt;
  return VmDir(base / name, name);
}

std::optional<VmDir> VmDir::of_host(const fs::path& base, bool make) {
  const VmDir dir(base / host_name, host_name);
  if (make) fs::create_directories(dir.path_);
  return fs::is_directory(dir.path_) ? std::optional(dir) : std::nullopt;
}

std::optional<ProcessId> VmDir::owner() const {
  constexpr std::size_t most = 4096;  // it is read of every directory that anybody made
  return read_as<ProcessId>(path_ / "owner", most);
}

bool VmDir::owner_alive() const {
  const auto id = owner();
  return id && is_alive(*id);
}

std::vector<std::string> VmDir::unreadable() const {
  std::vector<std::string> what;
  const auto look = [&](const char* name, const auto& wrong_in) {
    const auto json = records::read(path_ / name);
    const std::string why = !json ? json.error() : json->is_null() ? "" : wrong_in(*json);
    if (!why.empty()) what.push_back(fmt::format("{}: {}", (path_ / name).string(), why));
  };
  look("owner", why_not<ProcessId>);
  if (name_ != host_name)
    look("plan.json", [](const boost::json::value& plan) {
      const auto reservation = reservation_in(plan);
      return reservation ? why_not<topology::Reservation>(*reservation) : std::string("no \"reservation\" in it");
    });
  for (const std::string& line : journal_.read().unreadable)
    what.push_back(fmt::format("{}: {}", (path_ / "journal").string(), line));
  return what;
}

void VmDir::write_plan(const std::string& json) const { records::write(path_ / "plan.json", boost::json::parse(json)); }

std::optional<boost::json::value> VmDir::read_plan() const {
  auto plan = records::read(path_ / "plan.json");
  return plan && !plan->is_null() ? std::optional(std::move(*plan)) : std::nullopt;
}

topology::Reservation VmDir::reservation() const {
  topology::Reservation none{.owner = name_, .cpus = {}, .pages = {}, .things = {}};
  const auto plan = read_plan();
  const auto found = plan ? reservation_in(*plan) : std::nullopt;
  if (!found) return none;
  try {
    return topology::json::read<topology::Reservation>(*found);
  } catch (const std::invalid_argument&) {
    return none;
  }
}

void VmDir::write_state(const State& state) const {
  records::write(path_ / "state.json", topology::json::write(state));
}

State VmDir::read_state() const { return read_as<State>(path_ / "state.json").value_or(State{}); }

void VmDir::remove() const {
  std::error_code error;
  // the owner's mark goes last: a crash in between leaves a directory that recover sees as dead and removes
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    if (entry.path().filename() != "owner") fs::remove_all(entry.path(), error);
  }
  fs::remove_all(path_);
}

}  // namespace launcher::steps
