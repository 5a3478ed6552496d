// A small FAT volume with long names, made in memory: how a guest gets files before it has a network. The rule: same files, same
// bytes; nothing of this host or of the clock is in it. (libisofs would do the like by a library of 350 KiB, a thread and the time of
// day; this is a hundred lines, and every guest's kernel has vfat for its UEFI partition.)
#pragma once

#include <string>
#include <vector>

namespace launcher::inline steps {

struct VolumeFile {
  std::string name;  // printable ASCII, what FAT allows in a long name
  std::string bytes;
};

constexpr std::size_t most_in_volume = std::size_t{12} << 20;

// FAT12, sectors of 512 bytes, both FATs, all files in the root directory. Throws std::invalid_argument: too much for one, or a name
// that none can have.
std::string fat_volume(const std::string& label, const std::vector<VolumeFile>& files);

}  // namespace launcher::steps
