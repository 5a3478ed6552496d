// Reading and writing kernel files by plain read(2) and write(2): one call per file, since the kernel makes the text at
// the read and judges it at the write.
#include "topology/sysfs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <limits>
#include <utility>

#include "topology/words.hpp"

namespace topology {

namespace {

class Fd {
 public:
  Fd(const std::filesystem::path& path, int flags) : Fd(AT_FDCWD, path.c_str(), flags) {}
  Fd(int directory, const char* path, int flags) : fd_(::openat(directory, path, flags | O_CLOEXEC)) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Attributes of sysfs are whole at the first read, which spares the second: there is one of each for each CPU.
std::optional<std::string> read_all(int fd, bool attribute, std::size_t bytes) {
  if (fd < 0) return std::nullopt;
  std::string text;
  char buffer[4096];
  while (text.size() < bytes) {
    const auto got = ::read(fd, buffer, std::min(sizeof buffer, bytes - text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    text.append(buffer, static_cast<std::size_t>(got));
    if (got == 0 || (attribute && static_cast<std::size_t>(got) < sizeof buffer)) break;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::error_code last_error() { return {errno, std::generic_category()}; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "node2" before "node10": runs of digits compare as numbers (by length without leading zeros, then by text).
bool natural_less(const std::string& a, const std::string& b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      auto from_a = i, from_b = j;
      while (from_a < a.size() && a[from_a] == '0') ++from_a;
      while (from_b < b.size() && b[from_b] == '0') ++from_b;
      auto to_a = from_a, to_b = from_b;
      while (to_a < a.size() && is_digit(a[to_a])) ++to_a;
      while (to_b < b.size() && is_digit(b[to_b])) ++to_b;
      if (to_a - from_a != to_b - from_b) return to_a - from_a < to_b - from_b;
      const int order = a.compare(from_a, to_a - from_a, b, from_b, to_b - from_b);
      if (order != 0) return order < 0;
      i = to_a, j = to_b;
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i, ++j;
    }
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;
}

}  // namespace

std::filesystem::path Sysfs::at(std::string_view path) const {
  while (path.starts_with('/')) path.remove_prefix(1);
  return root_ / path;
}

std::optional<std::string> Sysfs::read(std::string_view path) const {
  return read_start(path, std::numeric_limits<std::size_t>::max());
}

std::optional<std::string> Sysfs::read_start(std::string_view path, std::size_t bytes) const {
  const Fd fd(AT_FDCWD, (prefix_ + std::string(path)).c_str(), O_RDONLY);
  return read_all(fd.get(), path.starts_with("/sys/"), bytes);
}

Sysfs::Directory Sysfs::directory(std::string_view path) const {
  return {::open((prefix_ + std::string(path)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), path.starts_with("/sys/")};
}

Sysfs::Directory::~Directory() {
  if (fd_ >= 0) ::close(fd_);
}

Sysfs::Directory::Directory(Directory&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), attributes_(other.attributes_) {}

std::optional<std::string> Sysfs::Directory::read(const std::string& relative) const {
  if (fd_ < 0) return std::nullopt;
  const Fd fd(fd_, relative.c_str(), O_RDONLY);
  return read_all(fd.get(), attributes_, std::numeric_limits<std::size_t>::max());
}

std::optional<std::uint64_t> Sysfs::read_number(std::string_view path) const {
  const auto text = read(path);
  return text ? number_of(*text) : std::nullopt;
}

std::error_code Sysfs::write(std::string_view path, std::string_view text) const {
  const Fd fd(at(path), O_WRONLY);
  if (fd.get() < 0) return last_error();
  ssize_t put = 0;
  do put = ::write(fd.get(), text.data(), text.size());
  while (put < 0 && errno == EINTR);
  if (put < 0) return last_error();
  if (static_cast<std::size_t>(put) != text.size()) return std::make_error_code(std::errc::io_error);
  return {};
}

bool Sysfs::exists(std::string_view path) const {
  std::error_code ignored;
  return std::filesystem::exists(at(path), ignored);
}

bool Sysfs::is_directory(std::string_view path) const {
  std::error_code ignored;
  return std::filesystem::is_directory(at(path), ignored);
}

std::vector<std::string> Sysfs::list(std::string_view directory) const {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(at(directory), error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end(), natural_less);
  return names;
}

std::optional<std::string> Sysfs::link_name(std::string_view path) const {
  std::error_code error;
  const auto target = std::filesystem::read_symlink(at(path), error);
  if (error) return std::nullopt;
  return target.filename().string();
}

std::optional<unsigned> Sysfs::node_of(std::string_view device) const {
  std::error_code error;
  const std::filesystem::path top = std::filesystem::canonical(at("/sys/devices"), error);
  std::filesystem::path here;
  if (!error) here = std::filesystem::canonical(at(device), error);
  if (error) here = at(device);  // a captured tree may have no /sys/devices
  do {
    std::ifstream file(here / "numa_node");
    long node = -1;
    if (file >> node) return node < 0 ? std::nullopt : std::optional(static_cast<unsigned>(node));
    here = here.parent_path();
  } while (!error && here.string().starts_with(top.string() + "/"));
  return std::nullopt;
}

}  // namespace topology
