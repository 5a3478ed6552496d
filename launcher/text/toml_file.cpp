// See toml_file.hpp.
#include "launcher/text/toml_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "topology/text_file.hpp"

namespace launcher::inline text {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_file = (1 << 20) + 1;  // parse_toml() refuses more than 1 MiB

class File {
 public:
  explicit File(const fs::path& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// For this thread's look at the file system we are somebody else, of no group. The kernel takes root's rights to pass by
// permissions away and gives them back with it (man 7 capabilities, "Effect of user ID changes").
class ActAs {
 public:
  explicit ActAs(std::optional<uid_t> user) : active_(user.has_value()) {
    if (!active_) return;
    groups_.resize(static_cast<std::size_t>(std::max(0, getgroups(0, nullptr))));
    groups_.resize(static_cast<std::size_t>(std::max(0, getgroups(static_cast<int>(groups_.size()), groups_.data()))));
    // glibc's own would change every thread
    syscall(SYS_setgroups, 0, nullptr);
    gid_ = static_cast<gid_t>(setfsgid(nobody));
    uid_ = static_cast<uid_t>(setfsuid(*user));
  }
  ~ActAs() {
    if (!active_) return;
    setfsuid(uid_);
    setfsgid(gid_);
    syscall(SYS_setgroups, groups_.size(), groups_.data());
  }
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

 private:
  static constexpr gid_t nobody = 65534;
  bool active_;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  std::vector<gid_t> groups_;
};

std::unexpected<std::string> failure(int error) {
  return std::unexpected<std::string>(std::strerror(error != 0 ? error : EIO));
}

std::optional<uid_t> reader_of(const struct stat& status) {
  return geteuid() == 0 && status.st_uid != 0 ? std::optional(status.st_uid) : std::nullopt;
}

std::unexpected<std::string> not_for(uid_t reader) {
  return std::unexpected(
      fmt::format("uid {}, whose spec this is, may not read it (by a group's rights neither)", reader));
}

std::string not_regular(const struct stat& status) {
  return fmt::format("it is {}, and no regular file", topology::file_kind(status.st_mode));
}

}  // namespace

std::expected<TomlFile, std::string> read_main_file(const fs::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) < 0) return failure(errno);
  std::expected<std::string, std::string> text = topology::read_text_file(file, longest_file);
  if (!text) return std::unexpected(text.error());
  return TomlFile{std::move(*text), reader_of(status)};
}

std::expected<fs::path, std::string> canonical_for(const fs::path& file, std::optional<uid_t> reader) {
  const ActAs looking(reader);
  std::error_code error;
  fs::path whole = fs::canonical(file, error);
  if (!error) return whole;
  if (reader && error == std::errc::permission_denied) return not_for(*reader);
  return std::unexpected(error.message());
}

std::expected<TomlFile, std::string> read_included_file(const fs::path& file, std::optional<uid_t> reader) {
  const ActAs reading(reader);
  struct stat status {};
  // before it is opened, as opening alone can do something to a device
  if (stat(file.c_str(), &status) < 0) return reader && errno == EACCES ? not_for(*reader) : failure(errno);
  if (!S_ISREG(status.st_mode)) return std::unexpected(not_regular(status));
  const File opened(file);
  if (opened.get() < 0) return reader && errno == EACCES ? not_for(*reader) : failure(errno);
  if (fstat(opened.get(), &status) < 0) return failure(errno);
  if (!S_ISREG(status.st_mode)) return std::unexpected(not_regular(status));
  if (reader && (status.st_mode & S_IROTH) == 0 && (status.st_uid != *reader || (status.st_mode & S_IRUSR) == 0))
    return not_for(*reader);
  std::expected<std::string, std::string> text = topology::read_open_file(opened.get(), longest_file);
  if (!text) return std::unexpected(text.error());
  return TomlFile{std::move(*text), reader ? reader : reader_of(status)};
}

}  // namespace launcher::text
