// Connecting to a unix socket by its path.
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "qmp/client.hpp"

namespace qmp {

int connect_unix(const std::string& path) {
  const auto fail = [&path](int code) {
    throw std::system_error(code, std::generic_category(), "connecting to " + path);
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) fail(ENOENT);
  if (path.size() >= sizeof address.sun_path) fail(ENAMETOOLONG);
  path.copy(address.sun_path, path.size());

  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail(errno);
  const timeval patience{.tv_sec = 5,
                         .tv_usec = 0};  // QEMU serves one client at a time; more than its queue holds wait
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    const int code = errno == EAGAIN ? ETIMEDOUT : errno;
    ::close(fd);
    fail(code);
  }
  return fd;
}

}  // namespace qmp
