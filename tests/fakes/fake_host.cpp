#include "tests/fakes/fake_host.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "launcher/host/vf_mac.hpp"

namespace fakes {

namespace fs = std::filesystem;
using launcher::ProcessId;
using topology::Bytes;
using topology::CpuSet;

namespace {

std::system_error refusal(int error, const std::string& what) { return {error, std::generic_category(), what}; }

launcher::Fd empty_file() {
  const int fd = memfd_create("fake", MFD_CLOEXEC);
  if (fd < 0) throw refusal(errno, "memfd");
  return launcher::Fd(fd);
}

// A file or a directory of cgroup or resctrl.
bool is_control(const std::string& path) {
  return path.starts_with("/sys/fs/cgroup/") || path.starts_with("/sys/fs/resctrl/") || path.starts_with("/g/");
}

// The process that a thread is of; ESRCH: it has ended.
pid_t process_of(pid_t thread, const std::string& what) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  for (std::string word; status >> word;)
    if (pid_t process = 0; word == "Tgid:" && status >> process) return process;
  throw refusal(ESRCH, what + " of thread " + std::to_string(thread));
}

}  // namespace

// A word in shared memory.
struct Word {
  std::array<char, 32> text{};
  Word& operator=(const std::string& value) {
    text.fill(0);
    value.copy(text.data(), text.size() - 1);
    return *this;
  }
  std::string get() const { return text.data(); }
};

// Outlives every fork and is the same for parent and child.
struct FakeHost::Function {
  Word address, own_driver, driver, driver_override, physical;
  bool there = true;
};
struct FakeHost::Shared {
  std::array<Function, 256> functions;
  std::size_t function_count = 0;
  std::array<Pool, 64> pools;
  std::size_t pool_count = 0;
  std::array<ProcessId, 4096> processes;
  std::size_t process_count = 0;
};

// One verb: counted and logged, then failed or stopped dead where the test said.
class FakeHost::Verb {
 public:
  Verb(FakeHost& host, std::string text) : host_(host), number_(host.verbs_++) {
    host_.log_.push_back(std::move(text));
    if (host_.fail_at_ == number_ && host_.fail_when_ == When::before) fail();
    if (host_.stop_at_ == number_ && host_.stop_when_ == When::before) host_.stop();
  }
  void done() {
    if (host_.fail_at_ == number_ && host_.fail_when_ == When::after) fail();
    if (host_.stop_at_ == number_ && host_.stop_when_ == When::after) host_.stop();
  }

 private:
  // with an error that the kernel has for nothing that vmrun passes over
  [[noreturn]] void fail() const { throw refusal(EREMOTEIO, "told to fail: " + host_.log_.back()); }

  FakeHost& host_;
  std::size_t number_;
};

FakeHost::FakeHost(const fs::path& dir) : Host{*this, *this, *this, *this}, dir_(dir) {
  fs::create_directories(dir_ / "taps");
  fs::create_directories(dir_ / "macvtaps");
  for (const char* root : {"/sys/fs/cgroup", "/sys/fs/resctrl"}) fs::create_directories(at(root));
  void* page = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw refusal(errno, "mmap");
  shared_ = new (page) Shared;
}

FakeHost::~FakeHost() {
  for (const ProcessId& process : live_processes()) launcher::end_process(process);
  munmap(shared_, sizeof(Shared));
}

void FakeHost::add_pool(const Pool& pool) { shared_->pools.at(shared_->pool_count++) = pool; }

void FakeHost::add_function(const std::string& address, const std::string& driver, const std::string& physical) {
  Function& one = shared_->functions.at(shared_->function_count++);
  one.address = address;
  one.own_driver = driver;
  one.driver = driver;
  one.physical = physical;
  one.there = physical.empty();
}

bool FakeHost::knows(const std::string& address) const {
  for (std::size_t i = 0; i < shared_->function_count; ++i)
    if (shared_->functions[i].address.get() == address) return true;
  return false;
}

FakeHost::Function& FakeHost::function(const std::string& address) const {
  for (std::size_t i = 0; i < shared_->function_count; ++i)
    if (shared_->functions[i].address.get() == address && shared_->functions[i].there) return shared_->functions[i];
  throw refusal(ENODEV, "PCI function " + address);
}

std::string FakeHost::function_driver(const std::string& address) const { return function(address).driver.get(); }

void FakeHost::heal() {
  fail_at_.reset();
  stop_at_.reset();
  verbs_ = 0;
  log_.clear();
}

void FakeHost::stop() {
  if (exits_) _exit(stopped);
  throw StopDead{};
}

FakeHost::Pool& FakeHost::pool(unsigned node, Bytes page) const {
  for (std::size_t i = 0; i < shared_->pool_count; ++i) {
    if (shared_->pools[i].node == node && shared_->pools[i].page == page) return shared_->pools[i];
  }
  throw std::runtime_error(fmt::format("node {} has no pool of {} pages", node, to_string(page)));
}

std::uint64_t FakeHost::total(unsigned node, Bytes page) const { return pool(node, page).total; }

std::vector<ProcessId> FakeHost::live_processes() const {
  std::vector<ProcessId> alive;
  for (std::size_t i = 0; i < shared_->process_count; ++i) {
    if (launcher::is_alive(shared_->processes[i])) alive.push_back(shared_->processes[i]);
  }
  return alive;
}

// A tap is a file with a shared lock on it: it exists as long as anybody holds one of its fds.
bool FakeHost::tap_exists(const std::string& name) const {
  const int fd = open((dir_ / "taps" / name).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = flock(fd, LOCK_EX | LOCK_NB) < 0;
  close(fd);
  return held;
}

std::string FakeHost::snapshot(const fs::path& base) const {
  std::string text;
  for (std::size_t i = 0; i < shared_->pool_count; ++i) {
    const Pool& one = shared_->pools[i];
    text += fmt::format("node {} {}: {}\n", one.node, to_string(one.page), one.total);
  }
  for (const auto& entry : fs::directory_iterator(dir_ / "taps")) {
    if (tap_exists(entry.path().filename())) text += "tap " + entry.path().filename().string() + "\n";
  }
  std::set<std::string> groups;
  std::error_code no_groups;
  for (const auto& entry : fs::recursive_directory_iterator(at("/"), no_groups)) {
    const std::string path = "/" + fs::relative(entry.path(), at("/")).string();
    if (entry.is_directory() && is_control(path) && entry.path().filename().string().starts_with("v"))
      groups.insert(path);
  }
  for (const std::string& group : groups) text += "group " + group + "\n";
  for (const auto& entry : fs::directory_iterator(dir_ / "macvtaps"))
    text += "macvtap " + entry.path().filename().string() + "\n";
  for (std::size_t i = 0; i < shared_->function_count; ++i) {
    const Function& one = shared_->functions[i];
    if (one.there)
      text += fmt::format("function {}: '{}' '{}'\n", one.address.get(), one.driver.get(), one.driver_override.get());
  }
  std::error_code no_macs;
  for (const auto& entry : fs::directory_iterator(dir_ / "vf_macs", no_macs)) {
    std::string mac;
    std::ifstream(entry.path()) >> mac;
    text += fmt::format("address of {}: {}\n", entry.path().filename().string(), mac);
  }
  std::set<std::string> values;
  std::error_code no_values;
  for (const auto& entry : fs::recursive_directory_iterator(at("/"), no_values))
    if (entry.is_regular_file() && entry.path().filename() != "cgroup.subtree_control")  // what is turned on stays on
      values.insert("/" + fs::relative(entry.path(), at("/")).string());
  for (const std::string& path : values) text += fmt::format("value {}: {}\n", path, value(path).value_or(""));
  std::set<std::string> names;
  std::error_code none_there;
  for (const auto& entry : fs::recursive_directory_iterator(base, none_there))
    names.insert(fs::relative(entry.path(), base));
  names.erase(".lock");
  for (const std::string& file : names) text += "file " + file + "\n";
  return text + fmt::format("{} processes\n", live_processes().size());
}

bool FakeHost::has_interface(const std::string& name) {
  Verb verb(*this, "has_interface " + name);
  const bool there = tap_exists(name) || persistent_taps_.contains(name) || fs::exists(dir_ / "macvtaps" / name);
  verb.done();
  return there;
}

std::vector<launcher::Fd> FakeHost::make_tap(const std::string& name, std::size_t queues) {
  Verb verb(*this, fmt::format("make_tap {} {}", name, queues));
  if (name.empty() || name.size() > 15) throw std::invalid_argument("'" + name + "' is no interface name");
  if (tap_exists(name) || persistent_taps_.contains(name)) throw refusal(EBUSY, "tap " + name);
  std::vector<launcher::Fd> fds;
  for (std::size_t i = 0; i < queues; ++i) {
    fds.emplace_back(open((dir_ / "taps" / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fds.back() || flock(fds.back().get(), LOCK_SH | LOCK_NB) < 0) throw refusal(errno, "fake tap " + name);
  }
  verb.done();
  return fds;
}

std::vector<launcher::Fd> FakeHost::open_tap(const std::string& name, std::size_t queues, bool multi_queue) {
  Verb verb(*this, fmt::format("open_tap {} {}", name, queues));
  if (!persistent_taps_.contains(name)) throw refusal(ENODEV, "tap " + name);
  if (queues > 1 && !multi_queue) throw refusal(EINVAL, "tap " + name);
  std::vector<launcher::Fd> fds;
  for (std::size_t i = 0; i < queues; ++i) fds.push_back(empty_file());
  verb.done();
  return fds;
}

void FakeHost::need_interface(const std::string& name) const {
  if (!tap_exists(name) && !persistent_taps_.contains(name) && !fs::exists(dir_ / "macvtaps" / name))
    throw refusal(ENODEV, "find " + name);
}

void FakeHost::set_mtu(const std::string& interface, unsigned mtu) {
  Verb verb(*this, fmt::format("set_mtu {} {}", interface, mtu));
  need_interface(interface);
  verb.done();
}

void FakeHost::join_bridge(const std::string& interface, const std::string& bridge) {
  Verb verb(*this, fmt::format("join_bridge {} {}", interface, bridge));
  need_interface(interface);
  verb.done();
}

void FakeHost::set_port_vlan(const std::string& port, const std::string& bridge, unsigned vlan) {
  Verb verb(*this, fmt::format("set_port_vlan {} {} {}", port, bridge, vlan));
  need_interface(port);
  verb.done();
}

void FakeHost::set_up(const std::string& interface) {
  Verb verb(*this, fmt::format("set_up {}", interface));
  need_interface(interface);
  verb.done();
}

void FakeHost::drop_tap(const std::string& name) {
  Verb verb(*this, fmt::format("drop_tap {}", name));
  if (tap_exists(name) || persistent_taps_.contains(name))
    throw std::runtime_error("tap " + name + " is still there: some process holds it open");
  verb.done();
}

// A macvtap is a file with its address in it: it stays, whoever holds its fds.
std::vector<launcher::Fd> FakeHost::make_macvtap(const std::string& name, const std::string& over,
                                                 const std::string& mode, const std::string& mac, std::size_t queues) {
  Verb verb(*this, fmt::format("make_macvtap {} {} {} {} {}", name, over, mode, mac, queues));
  if (fs::exists(dir_ / "macvtaps" / name)) throw refusal(EEXIST, "macvtap " + name);
  std::ofstream(dir_ / "macvtaps" / name) << mac;
  std::vector<launcher::Fd> fds;
  for (std::size_t i = 0; i < queues; ++i) fds.push_back(empty_file());
  verb.done();
  return fds;
}

void FakeHost::drop_macvtap(const std::string& name, const std::string& mac) {
  Verb verb(*this, fmt::format("drop_macvtap {} {}", name, mac));
  std::ifstream file(dir_ / "macvtaps" / name);
  std::string found;
  if (file >> found && found == mac) fs::remove(dir_ / "macvtaps" / name);
  verb.done();
}

void FakeHost::limit_rate(const std::string& interface, std::uint64_t out, std::uint64_t in) {
  Verb verb(*this, fmt::format("limit_rate {} {} {}", interface, out, in));
  need_interface(interface);
  verb.done();
}

void FakeHost::load_module(const std::string& name) {
  Verb verb(*this, "load_module " + name);
  verb.done();
}

void FakeHost::set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) {
  Verb verb(*this, fmt::format("set_vf_mac {} {} {}", interface, vf, mac));
  if (fs::exists(dir_ / "vf_macs" / fmt::format("{}.{}", interface, vf))) add_vf_mac(interface, vf, mac);
  verb.done();
}

void FakeHost::add_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) {
  fs::create_directories(dir_ / "vf_macs");
  std::ofstream(dir_ / "vf_macs" / fmt::format("{}.{}", interface, vf)) << mac;
}

void FakeHost::set_vf_port(const std::string& interface, unsigned vf, const launcher::VfPort& port) {
  const auto shown = [](const auto& value) { return value ? fmt::to_string(unsigned{*value}) : "-"; };
  Verb verb(*this, fmt::format("set_vf_port {} {} {} {} {}", interface, vf, shown(port.vlan), shown(port.trust),
                               shown(port.spoof_check)));
  verb.done();
}

launcher::Fd FakeHost::open_file(const std::string& path, bool writable, bool direct) {
  Verb verb(*this, fmt::format("open_file {}{}", path, writable ? " rw" : ""));
  launcher::Fd fd =
      files_.contains(path) || path.starts_with("/dev/") ? empty_file() : real_files_.open_file(path, writable, direct);
  verb.done();
  return fd;
}

launcher::Fd FakeHost::make_unnamed(const std::string& directory) {
  Verb verb(*this, "make_unnamed " + directory);
  launcher::Fd fd = files_.contains(directory) ? empty_file() : real_files_.make_unnamed(directory);
  verb.done();
  return fd;
}

void FakeHost::name_file(int fd, const std::string& path) {
  Verb verb(*this, "name_file " + path);
  real_files_.name_file(fd, path);
  verb.done();
}

void FakeHost::drop_name(const std::string& path) {
  Verb verb(*this, "drop_name " + path);
  real_files_.drop_name(path);
  verb.done();
}

launcher::Fd FakeHost::readable_copy(launcher::Fd fd, std::optional<unsigned> uid) {
  Verb verb(*this, fmt::format("readable_copy for {}", uid ? std::to_string(*uid) : "us"));
  verb.done();
  return fd;
}

launcher::Fd FakeHost::append_to(const std::string& path) {
  Verb verb(*this, "append_to " + path);
  launcher::Fd fd = empty_file();
  verb.done();
  return fd;
}

void FakeHost::keep_directory(const std::string& path, std::optional<unsigned>) {
  Verb verb(*this, "keep_directory " + path);
  verb.done();
}

launcher::Fd FakeHost::memory_file(const std::string& name, const std::string& bytes) {
  Verb verb(*this, "memory_file " + name);
  launcher::Fd fd = real_files_.memory_file(name, bytes);
  verb.done();
  return fd;
}

launcher::HugeFile FakeHost::huge_file(const launcher::HugeFileSpec& spec) {
  Verb verb(*this, "huge_file " + spec.name);
  launcher::HugeFile made{real_files_.memory_file(spec.name, ""), nullptr};
  verb.done();
  return made;
}

void FakeHost::keep_ssh_key(const std::string&, const std::string& path, const std::string& comment) {
  Verb verb(*this, fmt::format("keep_ssh_key {} {}", path, comment));
  verb.done();
}

void FakeHost::copy_once(const std::string& from, const std::string& to) {
  Verb verb(*this, fmt::format("copy_once {} {}", from, to));
  verb.done();
}

void FakeHost::keep_text(const std::string& path, const std::string&) {
  Verb verb(*this, "keep_text " + path);
  verb.done();
}

std::optional<launcher::FileIdentity> FakeHost::identity_of(const std::string& path) {
  return launcher::FileIdentity{1, std::hash<std::string>{}(path)};
}

void FakeHost::give_file(const std::string& path, const launcher::FileIdentity&, unsigned uid, unsigned) {
  Verb verb(*this, fmt::format("give_file {} {}", path, uid));
  owners_[path] = uid;
  verb.done();
}

launcher::Fd FakeHost::listen(const std::string& path, std::optional<unsigned>) {
  Verb verb(*this, "listen " + path);
  launcher::Fd fd = real_files_.listen(path, std::nullopt);
  verb.done();
  return fd;
}

launcher::Fd FakeHost::hold_path(const std::string& path) {
  Verb verb(*this, "hold_path " + path);
  launcher::Fd fd = files_.contains(path) ? empty_file() : real_files_.hold_path(path);
  verb.done();
  return fd;
}

launcher::Fd FakeHost::make_directory(const std::string& path, std::optional<unsigned>) {
  Verb verb(*this, "make_directory " + path);
  launcher::Fd fd = real_files_.make_directory(path, std::nullopt);
  verb.done();
  return fd;
}

// What only root may do, or what this machine may not have (CPU 71), is not done to the child but remembered, as the kernel would.
ProcessId FakeHost::spawn(const launcher::ChildSpec& child, const launcher::FdLayout& fds,
                          const std::function<void(const ProcessId&)>& written_down) {
  Verb verb(*this, "spawn " + child.argv.at(0));
  launcher::ChildSpec tame;
  tame.argv = child.argv;
  if (const char* behaviour = std::getenv("FAKE_QEMU")) tame.environment = {std::string("FAKE_QEMU=") + behaviour};
  tame.dies_with_parent = child.dies_with_parent && children_die_;
  const ProcessId process = launcher::spawn(tame, fds, [&](const ProcessId& id) {
    shared_->processes.at(shared_->process_count++) = id;
    written_down(id);
    enter_groups(child, id);
  });
  children_[process.pid] = child;
  verb.done();
  return process;
}

void FakeHost::enter_groups(const launcher::ChildSpec& child, const ProcessId& id) const {
  for (const std::string& group : {child.cgroup, child.cache_group}) {
    if (group.empty()) continue;
    const fs::path dir = at(group);
    if (!fs::is_directory(dir)) throw refusal(ENOENT, "cannot start " + child.argv.at(0) + " (" + group + ")");
    if (group == child.cgroup) std::ofstream(dir / "cgroup.procs", std::ios::app) << id.pid << ' ' << id.start << '\n';
  }
}

bool FakeHost::has_processes(const fs::path& group) const {
  std::ifstream inside(group / "cgroup.procs");
  for (ProcessId id; inside >> id.pid >> id.start;)
    if (launcher::is_alive(id)) return true;
  return false;
}

void FakeHost::end_process(const ProcessId& process) {
  Verb verb(*this, "end_process");
  real_processes_.end_process(process);
  verb.done();
}

// Kernel files are files below dir_/values. A group is a directory there; its controls come with it.
fs::path FakeHost::at(const std::string& path) const { return dir_ / "values" / fs::path(path).relative_path(); }

void FakeHost::make_group(const std::string& path, bool may_exist) {
  Verb verb(*this, "make_group " + path);
  if (fs::exists(at(path)) && !may_exist) throw refusal(EEXIST, "make " + path);
  fs::create_directories(at(path));
  verb.done();
}

void FakeHost::remove_group(const std::string& path, bool shared) {
  Verb verb(*this, "remove_group " + path);
  bool in_use = has_processes(at(path));
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(at(path), none)) in_use |= entry.is_directory();
  if (in_use && !shared) throw refusal(EBUSY, "remove " + path);
  if (!in_use) fs::remove_all(at(path));
  verb.done();
}

void FakeHost::add_value(const std::string& path, const std::string& text) {
  fs::create_directories(at(path).parent_path());
  std::ofstream(at(path)) << text << (text.ends_with('\n') ? "" : "\n");
}

void FakeHost::drop_value(const std::string& path) { fs::remove(at(path)); }

std::optional<std::string> FakeHost::value(const std::string& path) const {
  std::ifstream file(at(path));
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  return text;
}

namespace {

constexpr std::string_view functions_dir = "/sys/bus/pci/devices/", nodes_dir = "/sys/devices/system/node/node";

// Of a path below one of those directories, its own name there and the file in it: "0000:81:00.0" and "driver".
std::optional<std::pair<std::string, std::string>> below(std::string_view directory, const std::string& path) {
  if (!path.starts_with(directory)) return std::nullopt;
  const std::string rest = path.substr(directory.size());
  const auto slash = rest.find('/');
  return std::pair(rest.substr(0, slash), slash == rest.npos ? "" : rest.substr(slash + 1));
}

// What a file of a pool is called, and whose.
struct PoolFile {
  unsigned node = 0;
  Bytes page;
  std::string name;
};

std::optional<PoolFile> pool_file(const std::string& path) {
  unsigned node = 0;
  unsigned long long kib = 0;
  std::array<char, 32> name{};
  const std::string format = std::string(nodes_dir) + "%u/hugepages/hugepages-%llukB/%31s";
  if (std::sscanf(path.c_str(), format.c_str(), &node, &kib, name.data()) != 3) return std::nullopt;
  return PoolFile{node, Bytes{kib * 1024}, name.data()};
}

}  // namespace

// Reads are no verbs: they do not change anything, and what cannot be read is nothing to the kernel's readers.
std::optional<std::string> FakeHost::read(const std::string& path) {
  if (const auto file = pool_file(path))
    return file->name == "nr_hugepages" ? fmt::to_string(pool(file->node, file->page).total) : "0";
  if (const auto of = below(functions_dir, path); of && of->second == "sriov_numvfs")
    return fmt::to_string(vfs(of->first).size());
  return value(path);
}

bool FakeHost::exists(const std::string& path) {
  if (const auto of = below(functions_dir, path); of && of->second.empty()) {
    for (std::size_t i = 0; i < shared_->function_count; ++i)
      if (shared_->functions[i].address.get() == of->first) return shared_->functions[i].there;
    return false;
  }
  if (const auto of = below(nodes_dir, path)) return of->second == "compact";
  return fs::exists(at(path));
}

std::optional<std::string> FakeHost::link_name(const std::string& path) {
  if (path.starts_with("/sys/bus/mdev/devices/") && path.ends_with("/iommu_group")) return "8";
  const auto of = below(functions_dir, path);
  if (!of) return std::nullopt;
  if (of->second.starts_with("virtfn")) return vfs(of->first).at(std::stoul(of->second.substr(6)));
  const std::string driver = function(of->first).driver.get();
  if (of->second == "iommu_group") return "7";
  return driver.empty() ? std::nullopt : std::optional(driver);
}

std::vector<std::string> FakeHost::list(const std::string& directory) {
  const auto of = below(functions_dir, directory);
  if (of && of->second == "vfio-dev" && function(of->first).driver.get() == "vfio-pci") return {"vfio7"};
  return {};
}

std::vector<std::string> FakeHost::vfs(const std::string& physical) const {
  std::vector<std::string> there;
  for (std::size_t i = 0; i < shared_->function_count; ++i)
    if (shared_->functions[i].physical.get() == physical && shared_->functions[i].there)
      there.push_back(shared_->functions[i].address.get());
  return there;
}

void FakeHost::have_vfs(const std::string& physical, unsigned count) {
  for (std::size_t i = 0; i < shared_->function_count; ++i) {
    Function& one = shared_->functions[i];
    if (one.physical.get() != physical) continue;
    one.there = count > 0;
    one.driver = one.own_driver.get();
    one.driver_override = "";
    if (count > 0) --count;
  }
}

void FakeHost::probe(const std::string& address) {
  Function& one = function(address);
  const std::string wanted = one.driver_override.get();
  if (one.driver.get().empty()) one.driver = wanted.empty() ? one.own_driver.get() : wanted;
}

void FakeHost::write_function(const std::string& address, const std::string& file, const std::string& text) {
  if (file == "driver_override") function(address).driver_override = text;
  if (file == "driver/unbind") function(address).driver = "";
  if (file == "sriov_numvfs") have_vfs(address, static_cast<unsigned>(std::stoul(text)));
}

void FakeHost::write_pool(unsigned node, Bytes page, std::uint64_t total) {
  Pool& one = pool(node, page);
  const std::uint64_t possible =
      one.fragmented ? std::max(one.total, one.total + (total - std::min(one.total, total)) / 2) : one.most;
  one.total = std::min({total, possible, one.most});
}

namespace {

// As the kernel keeps what was written to a file that read `before`.
std::string kept(const std::string& path, const std::string& text, const std::string& before) {
  std::string now = text;
  if (path.ends_with("/cgroup.subtree_control") && text.starts_with('+'))
    now = (" " + before + " ").find(" " + text.substr(1) + " ") != before.npos ? before
          : before.empty()                                                     ? text.substr(1)
                                                                               : before + " " + text.substr(1);
  if (const auto open = before.find('['), close = before.find(']'); close != before.npos) {
    now = before;
    now.erase(close, 1).erase(open, 1);
    const auto found = (" " + now + " ").find(" " + text + " ");
    if (found == now.npos) throw refusal(EINVAL, "write to " + path);
    now.insert(found + text.size(), "]").insert(found, "[");
  }
  if ((path.ends_with("smp_affinity") || path.ends_with("cpumask")) && now.size() < before.size()) {
    std::string wide = before;  // a mask is as long as the machine has CPUs
    std::ranges::replace_if(
        wide, [](char c) { return c != ','; }, '0');
    now = wide.replace(wide.size() - now.size(), now.size(), now);
  }
  if (before.find('\t') != before.npos) std::replace(now.begin(), now.end(), ' ', '\t');  // as /proc/sys does
  return now;
}

}  // namespace

void FakeHost::write(const std::string& path, const std::string& text) {
  Verb verb(*this, fmt::format("write {} {}", path, text));
  if (const auto file = pool_file(path)) {
    write_pool(file->node, file->page, std::stoull(text));
  } else if (const auto of = below(nodes_dir, path); of && of->second == "compact") {
    for (std::size_t i = 0; i < shared_->pool_count; ++i)
      if (std::to_string(shared_->pools[i].node) == of->first) shared_->pools[i].fragmented = false;
  } else if (const auto function_file = below(functions_dir, path)) {
    write_function(function_file->first, function_file->second, text);
  } else if (path == "/sys/bus/pci/drivers_probe") {
    probe(text);
  } else {
    write_value(path, text);
  }
  verb.done();
}

void FakeHost::write_value(const std::string& path, const std::string& text) {
  const auto before = value(path);
  if (!before && !(is_control(path) && fs::is_directory(at(path).parent_path())))
    throw refusal(ENOENT, "write to " + path);
  if (const auto refused = refused_.find(path); refused != refused_.end())
    throw refusal(refused->second, "write to " + path);
  if (path.ends_with("/cgroup.threads") && !fs::exists("/proc/" + text)) throw refusal(ESRCH, "write to " + path);
  const std::string now = kept(path, text, before.value_or(""));
  if (path != deaf_) add_value(path, now);
  if (!path.ends_with("/smp_affinity_list")) return;
  const std::string effective = fs::path(path).parent_path() / "effective_affinity_list";
  const CpuSet cpus = CpuSet::parse(text).value_or(CpuSet{});  // an interrupt moves only when it has to
  if (const auto on = value(effective); on && !cpus.empty() && !cpus.contains(CpuSet::parse(*on).value_or(CpuSet{})))
    add_value(effective, std::to_string(cpus.first()));
}

void FakeHost::set_fifo(pid_t thread, unsigned priority) {
  Verb verb(*this, fmt::format("set_fifo {}", priority));
  process_of(thread, "priority");
  fifos_[thread] = priority;
  verb.done();
}

unsigned FakeHost::fifo(pid_t thread) {
  Verb verb(*this, "fifo");
  process_of(thread, "priority");
  const auto found = fifos_.find(thread);
  verb.done();
  return found != fifos_.end() ? found->second : 0;
}

std::uint64_t FakeHost::core_cookie(pid_t thread) {
  Verb verb(*this, "core_cookie");
  const auto child = children_.find(process_of(thread, "core scheduling"));
  verb.done();
  const bool own = child != children_.end() && child->second.own_core_cookie && !cookieless_;
  return own ? static_cast<std::uint64_t>(child->first) : 0;
}

int FakeHost::wait_for(const ProcessId& child, const std::function<void()>& meanwhile) {
  Verb verb(*this, "wait_for");
  const int code = real_processes_.wait_for(child, meanwhile);
  verb.done();
  return code;
}

void FakeHost::pin(pid_t thread, const CpuSet& cpus) {
  Verb verb(*this, "pin " + cpus.to_string());
  process_of(thread, "affinity");
  const CpuSet possible = cpus - unpinnable_;
  if (possible.empty()) throw refusal(EINVAL, fmt::format("pin thread {} to CPUs {}", thread, cpus.to_string()));
  pins_[thread] = possible;
  verb.done();
}

// A thread has its process's CPUs until it is given others.
CpuSet FakeHost::allowed(pid_t thread) const {
  const auto child = children_.find(process_of(thread, "affinity"));
  if (const auto own = pins_.find(thread); own != pins_.end()) return own->second;
  if (child == children_.end() || child->second.affinity.empty()) return CpuSet::range(0, 4095);
  return child->second.affinity - unpinnable_;
}

CpuSet FakeHost::pinned(pid_t thread) {
  Verb verb(*this, "pinned");
  CpuSet cpus = allowed(thread);
  verb.done();
  return cpus;
}

std::map<pid_t, CpuSet> FakeHost::pins() const {
  std::map<pid_t, CpuSet> found;
  for (const ProcessId& process : live_processes())
    for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", process.pid))) {
      const pid_t thread = std::stoi(task.path().filename().string());
      found[thread] = allowed(thread);
    }
  return found;
}

}  // namespace fakes
