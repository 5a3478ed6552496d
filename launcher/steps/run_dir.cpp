#include "launcher/steps/run_dir.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <system_error>

#include "launcher/steps/json.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline steps {

namespace fs = std::filesystem;

BOOST_DESCRIBE_ENUM(Phase, starting, running, paused, stopping)
BOOST_DESCRIBE_STRUCT(ThreadRecord, (), (tid, role, cpus, fifo))
BOOST_DESCRIBE_STRUCT(Helper, (), (role, process))
BOOST_DESCRIBE_STRUCT(State, (), (phase, qemu, helpers, threads, since, pages_held))

namespace {

std::optional<std::string> slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<boost::json::value> parse_file(const fs::path& path) {
  const auto text = slurp(path);
  if (!text) return std::nullopt;
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(*text, error);
  if (error) return std::nullopt;
  return value;
}

void write_whole(const fs::path& path, std::string_view text, int flags) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "open " + path.string());
  const ssize_t written = write(fd, text.data(), text.size());
  const int error = errno;
  close(fd);
  if (written != static_cast<ssize_t>(text.size())) {
    throw std::system_error(written < 0 ? error : ENOSPC, std::generic_category(), "write " + path.string());
  }
}

void replace_file(const fs::path& path, std::string_view text) {
  const fs::path next = path.string() + ".new";
  write_whole(next, text, O_TRUNC);
  fs::rename(next, path);
}

std::optional<VmDir::Undo> parse_undo(const boost::json::object& line) {
  const boost::json::value* number = line.if_contains("undo");
  const boost::json::value* step = line.if_contains("step");
  if (number == nullptr || step == nullptr || !number->is_int64()) return std::nullopt;
  auto parsed = step_from_json(*step);
  if (!parsed) return std::nullopt;
  return VmDir::Undo{static_cast<std::size_t>(number->get_int64()), std::move(*parsed)};
}

}  // namespace

fs::path run_base() {
  if (const char* given = std::getenv("VMRUN_RUN_DIR"); given != nullptr && *given != '\0') return given;
  if (geteuid() == 0) return "/run/vmrun";
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime != '\0')
    return fs::path(runtime) / "vmrun";
  return "/tmp/vmrun-" + std::to_string(geteuid());
}

Lock::Lock(const fs::path& base) {
  fs::create_directories(base);
  const fs::path path = base / ".lock";
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "open " + path.string());
  while (flock(fd_, LOCK_EX) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "lock " + path.string());
  }
}

Lock::Lock(const fs::path& base, const std::function<void()>& waiting) {
  fs::create_directories(base);
  const fs::path path = base / ".lock";
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "open " + path.string());
  try {
    while (flock(fd_, LOCK_EX | LOCK_NB) < 0) {
      if (errno != EINTR && errno != EWOULDBLOCK)
        throw std::system_error(errno, std::generic_category(), "lock " + path.string());
      waiting();
      usleep(50'000);
    }
  } catch (...) {
    close(fd_);
    throw;
  }
}

Lock::~Lock() {
  if (fd_ >= 0) close(fd_);
}

Lock::Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

std::expected<VmDir, std::string> VmDir::claim(const fs::path& base, const std::string& name) {
  VmDir dir(base / name, name);
  if (mkdir(dir.path_.c_str(), 0755) < 0) {
    if (errno != EEXIST) throw std::system_error(errno, std::generic_category(), "make " + dir.path_.string());
    const auto owner = dir.owner();
    return std::unexpected(owner && dir.owner_alive()
                               ? fmt::format("a VM of this name runs already (vmrun pid {})", owner->pid)
                               : "what a crash left of a VM of this name could not be put back yet");
  }
  const auto self = process_id(getpid());
  replace_file(dir.path_ / "owner", boost::json::serialize(topology::json::write(self.value())));
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
  const VmDir dir(base / ".host", ".host");
  if (make) fs::create_directories(dir.path_);
  return fs::is_directory(dir.path_) ? std::optional(dir) : std::nullopt;
}

std::optional<ProcessId> VmDir::owner() const {
  const auto json = parse_file(path_ / "owner");
  if (!json) return std::nullopt;
  try {
    return topology::json::read<ProcessId>(*json);
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
}

bool VmDir::owner_alive() const {
  const auto id = owner();
  return id && is_alive(*id);
}

void VmDir::write_plan(const std::string& json) const { replace_file(path_ / "plan.json", json); }

std::optional<boost::json::value> VmDir::read_plan() const { return parse_file(path_ / "plan.json"); }

topology::Reservation VmDir::reservation() const {
  topology::Reservation none{.owner = name_, .cpus = {}, .pages = {}, .things = {}};
  const auto plan = read_plan();
  if (!plan || !plan->is_object()) return none;
  const boost::json::value* found = plan->get_object().if_contains("reservation");
  if (found == nullptr) return none;
  try {
    return topology::json::read<topology::Reservation>(*found);
  } catch (const std::invalid_argument&) {
    return none;
  }
}

void VmDir::write_state(const State& state) const {
  replace_file(path_ / "state.json", boost::json::serialize(topology::json::write(state)));
}

State VmDir::read_state() const {
  const auto json = parse_file(path_ / "state.json");
  if (!json) return {};
  try {
    return topology::json::read<State>(*json);
  } catch (const std::invalid_argument&) {
    return {};
  }
}

void VmDir::journal_undo(std::size_t number, const Step& undo) const {
  const boost::json::object line{{"undo", static_cast<std::int64_t>(number)}, {"step", to_json(undo)}};
  write_whole(path_ / "journal", boost::json::serialize(line) + "\n", O_APPEND);
}

void VmDir::journal_undone(std::size_t number) const {
  const boost::json::object line{{"undone", static_cast<std::int64_t>(number)}};
  write_whole(path_ / "journal", boost::json::serialize(line) + "\n", O_APPEND);
}

std::vector<VmDir::Undo> parse_journal(std::string_view text) {
  std::map<std::size_t, Step> undos;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // torn: its step was never begun
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    boost::system::error_code error;
    const boost::json::value json = boost::json::parse(line, error);
    if (error || !json.is_object()) continue;
    if (auto undo = parse_undo(json.get_object())) {
      undos.insert_or_assign(undo->number, std::move(undo->step));
    } else if (const boost::json::value* undone = json.get_object().if_contains("undone");
               undone && undone->is_int64()) {
      undos.erase(static_cast<std::size_t>(undone->get_int64()));
    }
  }
  std::vector<VmDir::Undo> pending;
  pending.reserve(undos.size());
  for (auto& [number, step] : undos) pending.push_back({number, std::move(step)});
  return pending;
}

std::vector<VmDir::Undo> VmDir::pending() const { return parse_journal(slurp(path_ / "journal").value_or("")); }

void VmDir::remove() const {
  std::error_code error;
  // the owner's mark goes last: a crash in between leaves a directory that recover sees as dead and removes
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    if (entry.path().filename() != "owner") fs::remove_all(entry.path(), error);
  }
  fs::remove_all(path_);
}

namespace {

// Where VMs of this host are written down: our own ledger, and beside it root's (for a user) or each user's (for root).
// One given by $VMRUN_RUN_DIR stands alone.
std::vector<fs::path> other_ledgers(const fs::path& base) {
  std::vector<fs::path> others;
  if (std::getenv("VMRUN_RUN_DIR") != nullptr || base != run_base()) return others;  // a world of its own
  others.emplace_back("/run/vmrun");
  std::error_code error;
  for (const auto& user : fs::directory_iterator("/run/user", error)) others.push_back(user.path() / "vmrun");
  std::erase(others, base);
  return others;
}

std::vector<VmDir> live_vms(const fs::path& base) {
  std::vector<VmDir> dirs = VmDir::all(base);
  for (const fs::path& other : other_ledgers(base)) {
    for (const VmDir& dir : VmDir::all(other)) {
      if (dir.owner_alive()) dirs.push_back(dir);  // what a crash left there is not ours to put back
    }
  }
  return dirs;
}

}  // namespace

topology::Reservations read_reservations(const fs::path& base) {
  topology::Reservations taken;
  for (const VmDir& dir : live_vms(base)) taken.vms.push_back(dir.reservation());
  return taken;
}

namespace {

// Huge pages QEMU has already touched, by (node, page size).
std::map<std::pair<unsigned, std::uint64_t>, std::uint64_t> touched_pages(const std::optional<ProcessId>& qemu) {
  std::map<std::pair<unsigned, std::uint64_t>, std::uint64_t> touched;
  if (!qemu) return touched;
  const auto ranges = topology::read_numa_maps(qemu->pid);
  if (!ranges) return touched;
  for (const auto& range : *ranges) {
    if (!range.huge) continue;
    for (const auto& [node, pages] : range.pages_on_node) touched[{node, range.page.count}] += pages;
  }
  return touched;
}

}  // namespace

void subtract_pending(topology::HostTopology& host, const fs::path& base) {
  for (const VmDir& dir : live_vms(base)) {
    const State state = dir.read_state();
    if (state.pages_held) continue;
    const topology::Reservation reservation = dir.reservation();
    if (reservation.pages.empty()) continue;
    auto touched = touched_pages(state.qemu);
    for (const topology::PageClaim& claim : reservation.pages) {
      const std::uint64_t has = touched[{claim.node, claim.page.count}];
      const std::uint64_t pending = claim.pages > has ? claim.pages - has : 0;
      for (topology::Node& node : host.nodes) {
        if (node.id != claim.node) continue;
        for (topology::HugePagePool& pool : node.pools) {
          if (pool.page == claim.page) pool.free -= std::min(pool.free, pending);
        }
      }
    }
  }
}

namespace {

std::vector<topology::PageClaim> raises_of(const VmDir& dir) {
  std::vector<topology::PageClaim> raises;
  for (const VmDir::Undo& undo : dir.pending()) {
    if (const auto* trim = std::get_if<TrimPool>(&undo.step)) raises.push_back({trim->node, trim->page, trim->pages});
  }
  return raises;
}

}  // namespace

std::vector<topology::PageClaim> all_raises(const fs::path& base) {
  std::vector<topology::PageClaim> raises;
  for (const VmDir& dir : VmDir::all(base)) {
    for (const topology::PageClaim& raise : raises_of(dir)) raises.push_back(raise);
  }
  return raises;
}

std::set<std::string> makers_of_vfs(const fs::path& base, const std::string& except) {
  std::set<std::string> physical;
  for (const VmDir& dir : VmDir::all(base)) {
    if (dir.name() == except) continue;
    for (const VmDir::Undo& undo : dir.pending())
      if (const auto* remove = std::get_if<RemoveVfs>(&undo.step)) physical.insert(remove->physical);
  }
  return physical;
}

std::uint64_t raises_of_others(const fs::path& base, const std::string& except, unsigned node, topology::Bytes page) {
  std::uint64_t pages = 0;
  for (const VmDir& dir : VmDir::all(base)) {
    if (dir.name() == except) continue;
    for (const topology::PageClaim& raise : raises_of(dir)) {
      if (raise.node == node && raise.page == page) pages += raise.pages;
    }
  }
  return pages;
}

}  // namespace launcher::inline steps
