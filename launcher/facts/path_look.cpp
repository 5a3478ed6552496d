// See path_look.hpp.
#include "launcher/facts/path_look.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "launcher/host/device_rules.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/text/printable.hpp"
#include "topology/text_file.hpp"

namespace launcher::inline facts {

namespace {

namespace fs = std::filesystem;

const char* noun(std::initializer_list<mode_t> wanted) {
  if (wanted.size() != 1) return "file";
  return *wanted.begin() == S_IFDIR ? "directory" : *wanted.begin() == S_IFSOCK ? "socket" : "file";
}

std::string not_there(const std::string& path, std::initializer_list<mode_t> wanted, int error) {
  if (error != ENOENT) return fmt::format("'{}' cannot be reached: {}", printable(path), std::strerror(error));
  std::error_code none;
  const fs::path target = fs::read_symlink(path, none);
  if (!none)
    return fmt::format("'{}' is a link to '{}', which is not there", printable(path), printable(target.string()));
  return fmt::format("there is no {} '{}'", noun(wanted), printable(path));
}

// By the effective user's rights, as an open goes.
std::string not_allowed(const std::string& path, int access) {
  if (faccessat(AT_FDCWD, path.c_str(), access, AT_EACCESS) == 0) return {};
  const int error = errno;
  const char* what = access == R_OK            ? "read"
                     : access == (R_OK | W_OK) ? "opened for reading and writing"
                     : (access & W_OK) != 0    ? "written to"
                     : access == X_OK          ? "executed"
                                               : "entered";
  if (const std::string why = denied_by_device_rules(path, error); !why.empty())
    return fmt::format("'{}' cannot be {}: {}", printable(path), what, printable(why));
  if (error != EACCES) return fmt::format("'{}' cannot be {}: {}", printable(path), what, std::strerror(error));
  return fmt::format("'{}' cannot be {} by this user", printable(path), what);
}

}  // namespace

std::string misfit(const std::string& path, std::initializer_list<mode_t> wanted, int access) {
  struct stat info {};
  if (stat(path.c_str(), &info) < 0) return not_there(path, wanted, errno);
  if (std::ranges::find(wanted, info.st_mode & S_IFMT) == wanted.end())
    return fmt::format("'{}' is {}", printable(path), topology::file_kind(info.st_mode));
  return not_allowed(path, access);
}

std::string misfit_to_append(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0 || errno != ENOENT) return misfit(path, {S_IFREG}, W_OK);
  const std::string directory = fs::path(path).parent_path();
  std::string why = misfit(directory, {S_IFDIR}, W_OK | X_OK);
  return why.empty() ? why : fmt::format("'{}' cannot be made: {}", printable(path), why);
}

// A datagram socket may not connect to a stream socket, which the kernel says of one that some process has; of one that is left
// behind it says that nobody is there (net/unix/af_unix.c, unix_find_bsd).
bool has_listener(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return true;  // not to be told from here
  path.copy(address.sun_path, path.size());
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return !fd || connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno != ECONNREFUSED;
}

}  // namespace launcher::facts
