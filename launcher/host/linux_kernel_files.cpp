// Kernel files and groups of this machine.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include "launcher/host/linux_host.hpp"

namespace launcher::inline host {

std::optional<std::string> LinuxKernelFiles::read(const std::string& path) { return sysfs_.read(path); }

void LinuxKernelFiles::write(const std::string& path, const std::string& text) {
  if (const auto error = sysfs_.write(path, text + "\n"); error)  // an empty line clears a driver_override
    throw std::system_error(error, fmt::format("write '{}' to {}", text, path));
}

bool LinuxKernelFiles::exists(const std::string& path) { return sysfs_.exists(path); }

std::optional<std::string> LinuxKernelFiles::link_name(const std::string& path) { return sysfs_.link_name(path); }

std::vector<std::string> LinuxKernelFiles::list(const std::string& directory) { return sysfs_.list(directory); }

void LinuxKernelFiles::make_group(const std::string& path, bool may_exist) {
  if (mkdir(sysfs_.at(path).c_str(), 0755) == 0 || (may_exist && errno == EEXIST)) return;
  refuse("make " + path);
}

void LinuxKernelFiles::remove_group(const std::string& path, bool shared) {
  // A killed process is in its cgroup until its last thread is gone, a moment after its pidfd says so.
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (rmdir(sysfs_.at(path).c_str()) == 0 || errno == ENOENT) return;
    if (shared && (errno == EBUSY || errno == ENOTEMPTY)) return;
    if (errno != EBUSY) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  refuse("remove " + path);
}

}  // namespace launcher::host
