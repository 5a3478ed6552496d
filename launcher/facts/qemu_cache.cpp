#include "launcher/facts/qemu_cache.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <system_error>

namespace launcher::inline facts {

namespace fs = std::filesystem;

namespace {

// Empty: an ordinary user without a home.
fs::path cache_directory() {
  if (const char* given = std::getenv("VMRUN_CACHE_DIR"); given != nullptr && *given != '\0') return given;
  if (geteuid() == 0) return "/var/cache/vmrun";
  if (const char* given = std::getenv("XDG_CACHE_HOME"); given != nullptr && *given != '\0')
    return fs::path(given) / "vmrun";
  if (const char* home = std::getenv("HOME"); home != nullptr) return fs::path(home) / ".cache/vmrun";
  return {};
}

fs::path file_in(const fs::path& directory, const std::string& key) {
  return directory / fmt::format("qemu-{:016x}.json", std::hash<std::string>{}(key));
}

}  // namespace

std::string identity_of(const std::string& binary) {
  struct stat info {};
  if (stat(binary.c_str(), &info) < 0) return {};
  return fmt::format("{}:{}:{}:{}.{:09}:{}", binary, info.st_dev, info.st_ino, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec, info.st_size);
}

std::vector<std::string> read_cache(const std::string& key, const std::string& place) {
  std::vector<fs::path> directories{cache_directory()};
  // an ordinary user also profits from what root has found out
  if (std::getenv("VMRUN_CACHE_DIR") == nullptr && geteuid() != 0) directories.emplace_back("/var/cache/vmrun");
  std::vector<std::string> found;
  for (const fs::path& directory : directories) {
    if (directory.empty()) continue;
    std::ifstream in(file_in(directory, place.empty() ? key : place), std::ios::binary);
    std::string first;
    std::string rest;
    if (std::getline(in, first) && first == key && std::getline(in, rest)) found.push_back(rest);
  }
  return found;
}

void write_cache(const std::string& key, const std::string& json, const std::string& place) {
  const fs::path directory = cache_directory();
  if (directory.empty()) return;
  const fs::path file = file_in(directory, place.empty() ? key : place);
  std::error_code error;
  fs::create_directories(directory, error);
  const fs::path next = fmt::format("{}.{}", file.string(), getpid());
  {
    std::ofstream out(next, std::ios::binary);
    out << key << '\n' << json << '\n';
    if (!out.flush()) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(next, file, error);
  if (error) fs::remove(next, error);
}

}  // namespace launcher::facts
