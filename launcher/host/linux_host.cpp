// The verbs on this machine: sysfs for pools, files, sockets, processes; those of networks are in linux_host_net.cpp.
#include <fcntl.h>
#include <linux/prctl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "launcher/host/device_rules.hpp"
#include "launcher/host/host.hpp"
#include "topology/page_location.hpp"
#include "topology/sysfs.hpp"
#include "topology/text_file.hpp"

namespace launcher::inline host {

namespace {

// What the plan found may be another thing by now: a FIFO that nobody opens at its other end shall not hold a launch.
Fd opened_at_once(const std::string& path, int flags) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  const int error = errno;
  if (const std::string why = denied_by_device_rules(path, error); !fd && !why.empty())
    throw std::runtime_error("open " + path + ": " + why);
  if (!fd) refuse("open " + path, error);
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) refuse("fstat " + path);
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode) && !S_ISCHR(info.st_mode))
    throw std::runtime_error("open " + path + ": it is " + topology::file_kind(info.st_mode) + " by now");
  if (fcntl(fd.get(), F_SETFL, flags) < 0) refuse("fcntl " + path);  // QEMU's users of it wait as usual
  return fd;
}

std::string pool_path(unsigned node, topology::Bytes page, const char* file = "nr_hugepages") {
  return "/sys/devices/system/node/node" + std::to_string(node) + "/hugepages/hugepages-" +
         std::to_string(page.count / 1024) + "kB/" + file;
}

}  // namespace

// Without surplus pages: those that somebody took out of the pool while they were in use. They are counted until they are let go of, but what
// is written is the number without them. The two numbers are two files, and pages that a dying QEMU lets go of leave both between one
// read and the next: they count when they stood still.
std::uint64_t LinuxHost::pool_total(unsigned node, topology::Bytes page) {
  const topology::Sysfs sysfs;
  const auto look = [&] {
    const auto total = sysfs.read_number(pool_path(node, page));
    if (!total)
      throw std::runtime_error("node " + std::to_string(node) + " has no pool of " + to_string(page) + " pages");
    return std::pair(*total, sysfs.read_number(pool_path(node, page, "surplus_hugepages")).value_or(0));
  };
  constexpr int patience = 1000;
  auto now = look();
  for (int attempt = 0; attempt < patience; ++attempt)
    if (const auto before = std::exchange(now, look()); before == now) break;
  return now.first - std::min(now.first, now.second);
}

std::uint64_t LinuxHost::set_pool(unsigned node, topology::Bytes page, std::uint64_t total) {
  const auto error = topology::Sysfs{}.write(pool_path(node, page), std::to_string(total));
  if (error) refuse("write " + pool_path(node, page), error.value());
  return pool_total(node, page);  // the kernel may grant fewer without an error
}

void LinuxHost::compact_memory(unsigned node) {
  // best effort: a kernel without compaction has no such file, and the pool is read back anyway
  (void)topology::Sysfs{}.write("/sys/devices/system/node/node" + std::to_string(node) + "/compact", "1");
}

Fd LinuxHost::open_file(const std::string& path, bool writable, bool direct) {
  return opened_at_once(path, (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0));
}

Fd LinuxHost::make_unnamed(const std::string& directory) {
  Fd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd && errno == EOPNOTSUPP)
    throw std::runtime_error("the file system of " + directory +
                             " has no files without a name (O_TMPFILE); images and overlays can be made on ext4, xfs, "
                             "btrfs and tmpfs: move the disk's path, or set overlays in /etc/vmrun/host.toml");
  if (!fd) refuse("make a file in " + directory);
  return fd;
}

void LinuxHost::name_file(int fd, const std::string& path) {
  const std::string here = "/proc/self/fd/" + std::to_string(fd);
  if (linkat(AT_FDCWD, here.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) < 0) refuse("name " + path);
}

Fd LinuxHost::readable_copy(Fd fd, std::optional<unsigned> uid) {
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) refuse("fstat");
  const bool readable = !uid || (info.st_uid == *uid ? info.st_mode & S_IRUSR : info.st_mode & S_IROTH) != 0;
  if (readable) return fd;
  Fd copy = opened_or_refuse(memfd_create("vmrun-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd");
  for (off_t left = info.st_size; left > 0;) {
    const ssize_t sent = sendfile(copy.get(), fd.get(), nullptr, static_cast<std::size_t>(left));
    if (sent <= 0) refuse("copy for QEMU");
    left -= sent;
  }
  if (fchmod(copy.get(), 0444) < 0) refuse("mode of a copy for QEMU");
  fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
  return copy;
}

Fd LinuxHost::listen(const std::string& path, std::optional<unsigned> owner) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::invalid_argument("socket path too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd = opened_or_refuse(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  const mode_t before = umask(0177);  // the owner's alone
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(before);
  if (bound < 0) refuse("listen on " + path, error);
  if (::listen(fd.get(), 8) < 0) refuse("listen on " + path);
  if (owner && chown(path.c_str(), *owner, *owner) < 0) refuse("give away " + path);
  return fd;
}

Fd LinuxHost::hold_path(const std::string& path) {
  return opened_or_refuse(open(path.c_str(), O_PATH | O_CLOEXEC), "find " + path);
}

Fd LinuxHost::make_directory(const std::string& path, std::optional<unsigned> owner) {
  if (mkdir(path.c_str(), 0700) < 0) refuse("make directory " + path);
  if (owner && chown(path.c_str(), *owner, *owner) < 0) refuse("give away " + path);
  return hold_path(path);
}

ProcessId LinuxHost::spawn(const ChildSpec& child, const FdLayout& fds,
                           const std::function<void(const ProcessId&)>& written_down) {
  return launcher::spawn(child, fds, written_down);
}

void LinuxHost::end_process(const ProcessId& process) { launcher::end_process(process); }

bool LinuxHost::has_group(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void LinuxHost::make_group(const std::string& path, bool may_exist) {
  if (mkdir(path.c_str(), 0755) == 0 || (may_exist && errno == EEXIST)) return;
  refuse("make " + path);
}

void LinuxHost::remove_group(const std::string& path, bool shared) {
  // A killed process is in its cgroup until its last thread is gone, a moment after its pidfd says so.
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) return;
    if (shared && (errno == EBUSY || errno == ENOTEMPTY)) return;
    if (errno != EBUSY) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  refuse("remove " + path);
}

void LinuxHost::set_fifo(pid_t thread, unsigned priority) {
  sched_param parameter{};
  parameter.sched_priority = static_cast<int>(priority);
  // threads that it makes later (KVM's huge-page recovery) are not to inherit it
  if (sched_setscheduler(thread, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) < 0)
    refuse("make thread " + std::to_string(thread) + " SCHED_FIFO " + std::to_string(priority));
}

unsigned LinuxHost::fifo(pid_t thread) { return fifo_priority(thread); }

std::uint64_t LinuxHost::core_cookie(pid_t thread) {
  unsigned long long cookie = 0;
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, thread, 0, &cookie) < 0)
    refuse("core scheduling of thread " + std::to_string(thread));
  return cookie;
}

int LinuxHost::wait_for(const ProcessId& child, const std::function<void()>& meanwhile) {
  constexpr int between_looks = 200;  // ms
  const Fd pidfd(open_pidfd(child));
  pollfd ending{pidfd.get(), POLLIN, 0};
  while (pidfd && poll(&ending, 1, between_looks) == 0) meanwhile();
  return reap(child.pid);
}

void LinuxHost::pin(pid_t thread, const topology::CpuSet& cpus) {
  const auto error = topology::set_affinity(thread, cpus);
  if (error) refuse("pin thread " + std::to_string(thread) + " to CPUs " + cpus.to_string(), error.value());
}

topology::CpuSet LinuxHost::pinned(pid_t thread) {
  const auto cpus = topology::get_affinity(thread);
  if (!cpus) refuse("affinity of thread " + std::to_string(thread), cpus.error().value());
  return *cpus;
}

}  // namespace launcher::host
