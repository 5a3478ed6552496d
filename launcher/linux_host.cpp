// The verbs on this machine: sysfs for pools, /dev/net/tun and interface ioctls for taps, sockets, processes.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "launcher/host.hpp"
#include "topology/page_location.hpp"
#include "topology/sysfs.hpp"

namespace launcher {

namespace {

[[noreturn]] void refuse(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

std::string pool_path(unsigned node, topology::Bytes page) {
  return "/sys/devices/system/node/node" + std::to_string(node) + "/hugepages/hugepages-" +
         std::to_string(page.count / 1024) + "kB/nr_hugepages";
}

class Socket {
 public:
  Socket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) refuse("socket");
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

ifreq request_for(const std::string& interface) {
  ifreq request{};
  if (interface.empty() || interface.size() >= IFNAMSIZ) {
    throw std::invalid_argument("'" + interface + "' is no interface name (1 to 15 characters)");
  }
  std::memcpy(request.ifr_name, interface.data(), interface.size());
  return request;
}

int open_queue(const std::string& name, int flags) {
  const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) refuse("open /dev/net/tun");
  ifreq request = request_for(name);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  if (ioctl(fd, TUNSETIFF, &request) < 0) {
    const int error = errno;
    close(fd);
    refuse("tap " + name, error);
  }
  return fd;
}

std::vector<int> open_queues(const std::string& name, std::size_t queues, int first_flags, int flags) {
  std::vector<int> fds;
  try {
    for (std::size_t i = 0; i < queues; ++i) fds.push_back(open_queue(name, i == 0 ? first_flags : flags));
  } catch (...) {
    for (int fd : fds) close(fd);
    throw;
  }
  return fds;
}

// A bridge without an address of its own takes the lowest of its ports: a tap must not change it as VMs come and go.
void make_address_high(const std::string& tap) {
  const Socket socket;
  ifreq request = request_for(tap);
  if (ioctl(socket.fd(), SIOCGIFHWADDR, &request) < 0) refuse("address of " + tap);
  request.ifr_hwaddr.sa_data[0] = static_cast<char>(0xfe);
  if (ioctl(socket.fd(), SIOCSIFHWADDR, &request) < 0) refuse("address of " + tap);
}

}  // namespace

std::uint64_t LinuxHost::pool_total(unsigned node, topology::Bytes page) {
  const auto total = topology::Sysfs{}.read_number(pool_path(node, page));
  if (!total)
    throw std::runtime_error("node " + std::to_string(node) + " has no pool of " + to_string(page) + " pages");
  return *total;
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

std::vector<int> LinuxHost::make_tap(const std::string& name, std::size_t queues) {
  const int multi = queues > 1 ? IFF_MULTI_QUEUE : 0;
  std::vector<int> fds = open_queues(name, queues, multi | IFF_TUN_EXCL, multi);
  try {
    make_address_high(name);
  } catch (...) {
    for (int fd : fds) close(fd);
    throw;
  }
  return fds;
}

std::vector<int> LinuxHost::open_tap(const std::string& name, std::size_t queues, bool multi_queue) {
  const int multi = multi_queue ? IFF_MULTI_QUEUE : 0;
  return open_queues(name, queues, multi, multi);
}

void LinuxHost::set_mtu(const std::string& interface, unsigned mtu) {
  const Socket socket;
  ifreq request = request_for(interface);
  request.ifr_mtu = static_cast<int>(mtu);
  if (ioctl(socket.fd(), SIOCSIFMTU, &request) < 0) refuse("MTU of " + interface);
}

void LinuxHost::join_bridge(const std::string& interface, const std::string& bridge) {
  const Socket socket;
  ifreq port = request_for(interface);
  if (ioctl(socket.fd(), SIOCGIFINDEX, &port) < 0) refuse("find " + interface);
  ifreq request = request_for(bridge);
  request.ifr_ifindex = port.ifr_ifindex;
  if (ioctl(socket.fd(), SIOCBRADDIF, &request) < 0) refuse("attach " + interface + " to bridge " + bridge);
}

void LinuxHost::set_up(const std::string& interface) {
  const Socket socket;
  ifreq request = request_for(interface);
  if (ioctl(socket.fd(), SIOCGIFFLAGS, &request) < 0) refuse("flags of " + interface);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (ioctl(socket.fd(), SIOCSIFFLAGS, &request) < 0) refuse("bring up " + interface);
}

void LinuxHost::drop_tap(const std::string& name) {
  // A tap of ours lives as long as its fds, so this only matters when an fd outlived its owner: attach alone, and let
  // go of the last queue. Not there (ENODEV on a look-up): nothing to do.
  // A child that was forked when its parent was killed holds it until it sees so, a moment later: that long we wait.
  const Socket socket;
  ifreq request = request_for(name);
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (ioctl(socket.fd(), SIOCGIFINDEX, &request) < 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("tap " + name + " is still there: some process holds it open");
}

int LinuxHost::open_file(const std::string& path, bool writable, bool direct) {
  const int fd = open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0) | O_CLOEXEC);
  if (fd < 0) refuse("open " + path);
  return fd;
}

int LinuxHost::readable_copy(int fd, std::optional<unsigned> uid) {
  struct stat info {};
  if (fstat(fd, &info) < 0) refuse("fstat");
  const bool readable = !uid || (info.st_uid == *uid ? info.st_mode & S_IRUSR : info.st_mode & S_IROTH) != 0;
  if (readable) return fd;
  const int copy = memfd_create("vmrun-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (copy < 0) refuse("memfd");
  for (off_t left = info.st_size; left > 0;) {
    const ssize_t sent = sendfile(copy, fd, nullptr, static_cast<std::size_t>(left));
    if (sent <= 0) refuse("copy for QEMU");
    left -= sent;
  }
  if (fchmod(copy, 0444) < 0) refuse("mode of a copy for QEMU");
  fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
  close(fd);
  return copy;
}

int LinuxHost::listen(const std::string& path, std::optional<unsigned> owner) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::invalid_argument("socket path too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) refuse("socket");
  const mode_t before = umask(0177);  // the owner's alone
  const int bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(before);
  if (bound < 0 || ::listen(fd, 8) < 0) {
    const int why = bound < 0 ? error : errno;
    close(fd);
    refuse("listen on " + path, why);
  }
  if (owner && chown(path.c_str(), *owner, *owner) < 0) {
    const int why = errno;
    close(fd);
    refuse("give away " + path, why);
  }
  return fd;
}

ProcessId LinuxHost::spawn(const ChildSpec& child, const FdLayout& fds,
                           const std::function<void(const ProcessId&)>& written_down) {
  return launcher::spawn(child, fds, written_down);
}

void LinuxHost::end_process(const ProcessId& process) { launcher::end_process(process); }

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

std::string LinuxHost::write_control(const std::string& path, const std::string& text) {
  const topology::Sysfs sysfs;
  if (const auto error = sysfs.write(path, text + "\n")) refuse("write " + text + " to " + path, error.value());
  return sysfs.read(path).value_or("");
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

void LinuxHost::pin(pid_t thread, const topology::CpuSet& cpus) {
  const auto error = topology::set_affinity(thread, cpus);
  if (error) refuse("pin thread " + std::to_string(thread) + " to CPUs " + cpus.to_string(), error.value());
}

topology::CpuSet LinuxHost::pinned(pid_t thread) {
  const auto cpus = topology::get_affinity(thread);
  if (!cpus) refuse("affinity of thread " + std::to_string(thread), cpus.error().value());
  return *cpus;
}

}  // namespace launcher
