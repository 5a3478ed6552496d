// Small kernel files below a root directory. The rule: nothing in vmrun opens /sys or /proc/sys but through here, so a
// test (or a captured machine) gives another root and sees the same code run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace topology {

class Sysfs {
 public:
  // A directory below which many files are read (one for each CPU, one for each process): its path is walked once.
  class Directory {
   public:
    ~Directory();
    Directory(Directory&& other) noexcept;
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    Directory& operator=(Directory&&) = delete;
    std::optional<std::string> read(const std::string& relative) const;  // "cpu5/cpufreq/scaling_governor"

   private:
    friend class Sysfs;
    Directory(int fd, bool attributes) : fd_(fd), attributes_(attributes) {}
    int fd_;
    bool attributes_;
  };

  explicit Sysfs(std::filesystem::path root = "/")
      : root_(std::move(root)), prefix_(root_ == "/" ? "" : root_.string()) {}

  // Paths are absolute kernel paths ("/sys/devices/..."); text comes back without its trailing newline.
  std::optional<std::string> read(std::string_view path) const;           // nullopt: not there or not readable
  std::optional<std::uint64_t> read_number(std::string_view path) const;  // nullopt also when it is no number
  std::optional<std::string> read_start(std::string_view path, std::size_t bytes) const;  // not more than bytes of it
  Directory directory(std::string_view path) const;                           // one that is not there reads nothing
  std::error_code write(std::string_view path, std::string_view text) const;  // one write(2); errno as error_code
  bool exists(std::string_view path) const;
  bool is_directory(std::string_view path) const;
  std::vector<std::string> list(std::string_view directory) const;    // names, sorted naturally (node2 before node10)
  std::optional<std::string> link_name(std::string_view path) const;  // last part of what a symlink points to
  std::filesystem::path at(std::string_view path) const;
  // The node of the PCI device that a sysfs device hangs on: the nearest numa_node upwards (an NVMe disk has none itself,
  // its controller does). nullopt: nobody there has one, or the firmware does not say (-1).
  std::optional<unsigned> node_of(std::string_view device) const;

 private:
  std::filesystem::path root_;
  std::string prefix_;  // before an absolute path
};

}  // namespace topology
