#include "launcher/facts/in_use.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>

#include "launcher/host/fd.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline facts {

namespace fs = std::filesystem;

namespace {

std::string numbers(dev_t device) { return fmt::format("{}:{}", major(device), minor(device)); }

// A block device in sysfs, and in what words it belongs to the one that was asked for.
struct Node {
  std::string directory, device, words;
};

// The device, its partitions; of a partition also the disk that it is a part of.
std::vector<Node> nodes_of(const std::string& device, const topology::Sysfs& sysfs) {
  const std::string link = "/sys/dev/block/" + device;
  std::vector<Node> nodes = {{link, device, "it"}};
  for (const std::string& name : sysfs.list(link))
    if (sysfs.exists(fmt::format("{}/{}/partition", link, name)))
      nodes.push_back(
          {link + "/" + name, sysfs.read(fmt::format("{}/{}/dev", link, name)).value_or(""), "its partition " + name});
  if (sysfs.exists(link + "/partition")) {
    std::error_code unknown;  // through the link, whose target's parent is the disk
    const fs::path disk = fs::canonical(sysfs.at(link), unknown).parent_path();
    const std::string parent = sysfs.read("/sys/class/block/" + disk.filename().string() + "/dev").value_or("");
    if (!unknown && !parent.empty())
      nodes.push_back(
          {"/sys/dev/block/" + parent, parent, fmt::format("the disk it is a part of, {},", disk.filename().string())});
  }
  return nodes;
}

std::string file_of_loop(const std::string& device, const topology::Sysfs& sysfs) {
  const auto file = sysfs.read(fmt::format("/sys/dev/block/{}/loop/backing_file", device));
  struct stat info {};
  return file && stat(file->c_str(), &info) == 0 ? file_id(info) : "";
}

// What a device is made of, down to the disks and files.
std::vector<std::string> below(const std::string& device, const topology::Sysfs& sysfs) {
  std::vector<std::string> ids, open{device}, seen;
  while (!open.empty()) {
    const std::string here = open.back();
    open.pop_back();
    if (here.empty() || std::ranges::find(seen, here) != seen.end()) continue;
    seen.push_back(here);
    if (here != device) ids.push_back("block " + here);
    if (const std::string file = file_of_loop(here, sysfs); !file.empty()) ids.push_back(file);
    for (const Node& node : nodes_of(here, sysfs))
      if (node.words.starts_with("the disk")) open.push_back(node.device);
    for (const std::string& part : sysfs.list(fmt::format("/sys/dev/block/{}/slaves", here)))
      open.push_back(sysfs.read("/sys/class/block/" + part + "/dev").value_or(""));
  }
  return ids;
}

std::string mount_of(const std::string& device, const topology::Sysfs& sysfs) {
  std::istringstream lines(sysfs.read("/proc/self/mountinfo").value_or(""));
  for (std::string line;
       std::getline(lines, line);) {  // proc(5): id parent major:minor root mount-point ... - type source
    std::istringstream words(line);
    std::string skipped, number, root, where, word, source;
    words >> skipped >> skipped >> number >> root >> where;
    while (words >> word && word != "-") {
    }
    words >> skipped >> source;
    struct stat info {};  // btrfs shows a number of its own: its device stands behind
    const bool by_source = source.starts_with("/dev/") && stat(source.c_str(), &info) == 0 && S_ISBLK(info.st_mode) &&
                           numbers(info.st_rdev) == device;
    if (number == device || by_source) return where;
  }
  return {};
}

bool is_swap(const struct stat& wanted, const topology::Sysfs& sysfs) {
  std::istringstream lines(sysfs.read("/proc/swaps").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    struct stat info {};
    if (!line.starts_with('/') || stat(line.substr(0, line.find_first_of(" \t")).c_str(), &info) < 0) continue;
    if (file_id(info) == file_id(wanted)) return true;
  }
  return false;
}

std::string use_of_device(const struct stat& info, const topology::Sysfs& sysfs) {
  for (const Node& node : nodes_of(numbers(info.st_rdev), sysfs)) {
    if (const std::string where = mount_of(node.device, sysfs); !where.empty())
      return fmt::format("{} is mounted on '{}'", node.words, printable(where));
    struct stat one {};
    unsigned high = 0, low = 0;
    if (std::sscanf(node.device.c_str(), "%u:%u", &high, &low) == 2) {
      one.st_mode = S_IFBLK;
      one.st_rdev = makedev(high, low);
      if (is_swap(one, sysfs)) return node.words + " is swap";
    }
    for (const std::string& holder : sysfs.list(node.directory + "/holders")) {
      const auto name = sysfs.read(fmt::format("/sys/class/block/{}/dm/name", holder));
      return fmt::format("{} is a part of {}{}", node.words, holder,
                         name ? fmt::format(" ({})", printable(*name)) : "");
    }
  }
  return {};
}

// A file that the kernel reads and writes as a device of its own.
std::string use_of_file(const struct stat& info, const topology::Sysfs& sysfs) {
  if (is_swap(info, sysfs)) return "it is swap";
  for (const std::string& name : sysfs.list("/sys/class/block")) {
    if (!name.starts_with("loop")) continue;
    const auto file = sysfs.read(fmt::format("/sys/class/block/{}/loop/backing_file", name));
    struct stat behind {};
    if (!file || stat(file->c_str(), &behind) < 0 || file_id(behind) != file_id(info)) continue;
    if (sysfs.read_number(fmt::format("/sys/class/block/{}/ro", name)) == 1u) continue;
    return fmt::format("it is attached to /dev/{}", name);
  }
  return {};
}

// Of whoever has it open; "another process" where nobody may be looked into.
std::string holder_of(const struct stat& wanted) {
  const topology::Sysfs proc;
  for (const std::string& pid : proc.list("/proc")) {
    if (pid.find_first_not_of("0123456789") != pid.npos || pid == std::to_string(getpid())) continue;
    for (const std::string& fd : proc.list("/proc/" + pid + "/fd")) {
      struct stat info {};
      if (stat(fmt::format("/proc/{}/fd/{}", pid, fd).c_str(), &info) < 0 || file_id(info) != file_id(wanted)) continue;
      const std::string command = proc.read_start("/proc/" + pid + "/cmdline", 4096).value_or("");
      if (const std::size_t at = command.find("guest="); at != command.npos) {
        const std::string name = command.substr(at + 6, command.find_first_of(std::string_view(",\0", 2), at) - at - 6);
        return fmt::format("QEMU of VM '{}', pid {}", printable(name), pid);
      }
      return fmt::format("{}, pid {}", printable(proc.read("/proc/" + pid + "/comm").value_or("a process")), pid);
    }
  }
  return "another process";
}

}  // namespace

std::string file_id(const struct stat& info) {
  if (S_ISBLK(info.st_mode)) return "block " + numbers(info.st_rdev);
  if (S_ISCHR(info.st_mode)) return "character " + numbers(info.st_rdev);
  return fmt::format("file {} inode {}", numbers(info.st_dev), info.st_ino);
}

std::vector<std::string> identities(const std::string& path) {
  std::vector<std::string> ids;
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) ids.push_back(file_id(info));
  std::error_code error;
  const std::filesystem::path place = std::filesystem::weakly_canonical(path, error);
  if (!error && stat(place.parent_path().c_str(), &info) == 0)
    ids.push_back(fmt::format("{} in {}", place.filename().string(), file_id(info)));
  return ids;
}

OtherNames other_names(const struct stat& info, const topology::Sysfs& sysfs) {
  OtherNames names;
  if (!S_ISBLK(info.st_mode)) return names;
  const std::string device = numbers(info.st_rdev);
  for (const Node& node : nodes_of(device, sysfs))
    if (node.words.starts_with("its partition")) names.whole.push_back("block " + node.device);
  if (const std::string file = file_of_loop(device, sysfs); !file.empty()) names.whole.push_back(file);
  for (const std::string& id : below(device, sysfs))
    if (std::ranges::find(names.whole, id) == names.whole.end()) names.below.push_back(id);
  return names;
}

std::string use_by_host(const struct stat& info, const topology::Sysfs& sysfs) {
  return S_ISBLK(info.st_mode) ? use_of_device(info, sysfs) : use_of_file(info, sysfs);
}

// Another vmrun may be asking at this very instant, and udev does: what lasts is what counts.
bool is_taken_exclusively(const std::string& path) {
  constexpr int tries = 5;
  for (int i = 0; i < tries; ++i) {
    const Fd fd(open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK));
    if (fd || errno != EBUSY) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

// QEMU locks a byte of the file for each thing it does to it, and one for each that others may not (block/file-posix.c).
std::string locked_by(const std::string& path, bool writes) {
  constexpr off_t does = 100, allows_not = 200, write = 1;
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return {};
  const auto locked = [&fd](off_t byte) {
    struct flock lock {};
    lock.l_type = F_WRLCK, lock.l_whence = SEEK_SET, lock.l_start = byte, lock.l_len = 1;
    return fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  };
  const bool held = locked(does + write) || (writes && locked(allows_not + write));
  struct stat info {};
  const bool known = fstat(fd.get(), &info) == 0;
  return held && known ? holder_of(info) : "";
}

}  // namespace launcher::facts
