// The verbs that open files and sockets, and make those that have no name.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "launcher/host/device_rules.hpp"
#include "launcher/host/linux_host.hpp"
#include "topology/text_file.hpp"

namespace launcher::inline host {

namespace {

// What the plan found may be another thing by now: a FIFO that nobody opens at its other end shall not hold a launch.
Fd opened_at_once(const std::string& path, int flags) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) refuse_to_open(path, errno);
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) refuse("fstat " + path);
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode) && !S_ISCHR(info.st_mode))
    throw std::runtime_error("open " + path + ": it is " + topology::file_kind(info.st_mode) + " by now");
  if (fcntl(fd.get(), F_SETFL, flags) < 0) refuse("fcntl " + path);  // QEMU's users of it wait as usual
  return fd;
}

}  // namespace

Fd LinuxFiles::open_file(const std::string& path, bool writable, bool direct) {
  return opened_at_once(path, (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0));
}

Fd LinuxFiles::make_unnamed(const std::string& directory) {
  Fd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd && errno == EOPNOTSUPP)
    throw std::runtime_error("the file system of " + directory +
                             " has no files without a name (O_TMPFILE); images and overlays can be made on ext4, xfs, "
                             "btrfs and tmpfs: move the disk's path, or set overlays in /etc/vmrun/host.toml");
  if (!fd) refuse("make a file in " + directory);
  return fd;
}

void LinuxFiles::name_file(int fd, const std::string& path) {
  const std::string here = "/proc/self/fd/" + std::to_string(fd);
  if (linkat(AT_FDCWD, here.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) < 0) refuse("name " + path);
}

void LinuxFiles::drop_name(const std::string& path) {
  if (unlink(path.c_str()) < 0 && errno != ENOENT) refuse("remove " + path);
}

Fd LinuxFiles::readable_copy(Fd fd, std::optional<unsigned> uid) {
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

Fd LinuxFiles::listen(const std::string& path, std::optional<unsigned> owner) {
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

Fd LinuxFiles::hold_path(const std::string& path) {
  return opened_or_refuse(open(path.c_str(), O_PATH | O_CLOEXEC), "find " + path);
}

Fd LinuxFiles::make_directory(const std::string& path, std::optional<unsigned> owner) {
  if (mkdir(path.c_str(), 0700) < 0) refuse("make directory " + path);
  if (owner && chown(path.c_str(), *owner, *owner) < 0) refuse("give away " + path);
  return hold_path(path);
}

}  // namespace launcher::host
