#include "launcher/steps/run_base.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace launcher::inline steps {

namespace fs = std::filesystem;

fs::path run_base() {
  if (const char* given = std::getenv("VMRUN_RUN_DIR"); given != nullptr && *given != '\0') return given;
  if (geteuid() == 0) return "/run/vmrun";
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime != '\0')
    return fs::path(runtime) / "vmrun";
  return "/tmp/vmrun-" + std::to_string(geteuid());
}

void need_own_directory(const fs::path& path) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  const bool made = mkdir(path.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) throw std::system_error(errno, std::generic_category(), "make " + path.string());
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat info {};
  if (fd < 0 || fstat(fd, &info) < 0)
    throw std::runtime_error(path.string() + " is no directory of ours: remove it, or set VMRUN_RUN_DIR");
  if (made && info.st_uid == geteuid()) fchmod(fd, 0755);
  close(fd);
  if (info.st_uid != geteuid() || (!made && (info.st_mode & (S_IWGRP | S_IWOTH)) != 0))
    throw std::runtime_error(
        fmt::format("{} is owned by uid {} with mode {:o}; wanted a directory that only uid {} may write to: what "
                    "stands in it cannot "
                    "be believed (chmod go-w, remove it, or set VMRUN_RUN_DIR)",
                    path.string(), info.st_uid, info.st_mode & 07777, geteuid()));
}

Lock::Lock(const fs::path& base, const std::function<void()>& waiting) {
  need_own_directory(base);
  const fs::path path = base / ".lock";
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "open " + path.string());
  constexpr auto between_looks = std::chrono::milliseconds(100);
  for (unsigned looks = 1; flock(fd_, waiting ? LOCK_EX | LOCK_NB : LOCK_EX) < 0; ++looks) {
    if (errno == EINTR) continue;
    const int error = errno;
    try {
      if (error != EWOULDBLOCK) throw std::system_error(error, std::generic_category(), "lock " + path.string());
      if (looks % 10 == 0) waiting();
    } catch (...) {
      close(fd_);
      throw;
    }
    std::this_thread::sleep_for(between_looks);
  }
}

Lock::~Lock() {
  if (fd_ >= 0) close(fd_);
}

Lock::Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

}  // namespace launcher::inline steps
