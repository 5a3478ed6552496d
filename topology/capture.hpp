// A machine's kernel files in one text: what scripts/capture-host writes, what a test unpacks below a directory of its own
// and reads through Sysfs. The rule: the text may be hostile (a bug report brings it); nothing lands outside the directory.
//
//   # a comment
//   /proc/sys/vm/swappiness = 60
//   /sys/devices/system/cpu/cpu{0-71}/cpufreq/scaling_governor = powersave      (one file for each number)
//   /proc/zoneinfo <                                                            (the lines that follow, less their tab)
//   <TAB>Node 0, zone   Normal
//   /sys/bus/pci/devices/0000:31:00.0/driver -> ice                             (a link; only its last part is kept)
//   /sys/kernel/iommu_groups/                                                   (an empty directory)
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace topology {

struct CapturedFile {
  enum class Kind { file, link, directory };
  std::string path;
  Kind kind = Kind::file;
  std::string text;  // a file's content, a link's last part
  friend bool operator==(const CapturedFile&, const CapturedFile&) = default;
};

// Error: "line 12: ...".
std::expected<std::vector<CapturedFile>, std::string> parse_capture(std::string_view text);

// Into a directory that is there and empty. Throws std::system_error.
void unpack_capture(const std::vector<CapturedFile>& files, const std::filesystem::path& root);

}  // namespace topology
