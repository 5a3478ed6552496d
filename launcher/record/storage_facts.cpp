// What a disk image lies on: the file system with its options, and the block device's queue.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <sstream>

#include "launcher/record/lock.hpp"
#include "topology/words.hpp"

namespace launcher::inline record {

namespace {

constexpr std::array queue_files{"scheduler",  "nr_requests", "read_ahead_kb", "rq_affinity", "nomerges",
                                 "rotational", "io_poll",     "write_cache",   "wbt_lat_usec"};

bool is_below(const std::string& path, const std::string& point) {
  return path.starts_with(point) && (point.ends_with('/') || path.size() == point.size() || path[point.size()] == '/');
}

// "ext4 rw,noatime,data=ordered" of the mount that the file is reached by; options that hold a path may name the machine, and are left out.
std::string file_system_of(const topology::Sysfs& root, const std::string& path, dev_t device) {
  const std::string number = fmt::format("{}:{}", major(device), minor(device));
  std::istringstream lines(root.read("/proc/self/mountinfo").value_or(""));
  std::string nearest, best;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, its, below, point, options, word, type, source, of_super, all;
    words >> id >> parent >> its >> below >> point >> options;
    if (its != number || !is_below(path, point) || point.size() < nearest.size()) continue;  // the last one lies on top
    nearest = point;
    while (words >> word && word != "-") continue;
    words >> type >> source >> of_super;
    std::istringstream each(options + "," + of_super);
    std::string last;
    for (std::string option; std::getline(each, option, ',');)
      if (option.find('/') == option.npos && ("," + all + ",").find("," + option + ",") == std::string::npos)
        all += (all.empty() ? "" : ",") + option;
    best = type + " " + all;
  }
  return best;
}

}  // namespace

Values storage_facts(const topology::Sysfs& root, const std::vector<LockedFile>& files) {
  Values found;
  for (const LockedFile& file : files) {
    struct stat info {};
    if (!is_image(file) || stat(file.path.c_str(), &info) != 0) continue;
    const bool whole = S_ISBLK(info.st_mode);
    const dev_t device = whole ? info.st_rdev : info.st_dev;
    if (const std::string system = whole ? "" : file_system_of(root, file.path, device); !system.empty())
      found["file system of " + file.role] = system;
    std::string dir = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
    if (root.exists(dir + "/partition")) dir += "/..";
    for (const char* name : queue_files)
      if (const auto text = root.read(fmt::format("{}/queue/{}", dir, name)))
        found[fmt::format("{} of {}", name, file.role)] = topology::chosen_word(*text);
  }
  return found;
}

}  // namespace launcher::record
