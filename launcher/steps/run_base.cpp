#include "launcher/steps/run_base.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
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
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) < 0)
    throw std::runtime_error(path.string() + " is no directory of ours: remove it, or set VMRUN_RUN_DIR");
  if (made && info.st_uid == geteuid()) fchmod(fd.get(), 0755);
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
  fd_ = opened_or_refuse(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), "open " + path.string());
  // Most hold it for a few milliseconds: who has waited little looks often.
  using Clock = std::chrono::steady_clock;
  using std::chrono::microseconds;
  constexpr microseconds soon{500}, late{50'000};
  const Clock::time_point begun = Clock::now();
  while (flock(fd_.get(), waiting ? LOCK_EX | LOCK_NB : LOCK_EX) < 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) refuse("lock " + path.string());
    waiting();
    const auto waited = std::chrono::duration_cast<microseconds>(Clock::now() - begun);
    std::this_thread::sleep_for(std::clamp(waited / 4, soon, late));
  }
}

}  // namespace launcher::steps
