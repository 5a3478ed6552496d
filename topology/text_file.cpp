// See text_file.hpp.
#include "topology/text_file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace topology {

namespace {

constexpr int patience_ms = 10'000;

std::unexpected<std::string> failure(int error) {
  return std::unexpected<std::string>(std::strerror(error != 0 ? error : EIO));
}

// /dev/null is as good as an empty file; a terminal is somebody who types.
bool ends(const struct stat& status, int fd) {
  const bool null = S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
  return S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode) || null || (S_ISCHR(status.st_mode) && isatty(fd) != 0);
}

}  // namespace

std::string file_kind(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    default:
      return "no file";
  }
}

std::expected<std::string, std::string> read_open_file(int fd, std::size_t most) {
  std::string text;
  std::array<char, 8192> chunk{};
  while (text.size() < most) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, patience_ms) == 0) return std::unexpected("nothing comes from it");
    const ssize_t got = read(fd, chunk.data(), std::min(chunk.size(), most - text.size()));
    if (got == 0) break;
    if (got < 0 && errno != EINTR && errno != EAGAIN) return failure(errno);
    if (got > 0) text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::expected<std::string, std::string> read_text_file(const std::filesystem::path& file, std::size_t most) {
  struct stat status {};
  if (stat(file.c_str(), &status) < 0) return failure(errno);
  // before it is opened, as opening alone can do something to a device
  if (S_ISDIR(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISBLK(status.st_mode))
    return std::unexpected("it is " + file_kind(status.st_mode));
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return failure(errno);
  std::expected<std::string, std::string> text;
  if (fstat(fd, &status) < 0)
    text = failure(errno);
  else if (!ends(status, fd))
    text = std::unexpected("it is " + file_kind(status.st_mode));
  else
    text = read_open_file(fd, most);
  close(fd);
  return text;
}

}  // namespace topology
