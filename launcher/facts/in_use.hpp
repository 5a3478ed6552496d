// Who has a block device or an image already: the host itself (mounts, swap, LVM, md, dm, loop devices, ZFS) or another QEMU. The
// rule: read-only, and devices and files are told by their numbers, never by their names.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "topology/sysfs.hpp"

namespace launcher::inline facts {

// The same for every name of it: "block 8:16", "character 10:5", "file 8:1 inode 4711".
std::string file_id(const struct stat& info);
// What a path leads to, as far as there is something, and the place itself, for what is made there: {"file 8:1 inode 12",
// "a.log in file 8:1 inode 2"}. Symbolic links are followed.
std::vector<std::string> identities(const std::string& path);

// By which names else the bytes of a block device are reached.
struct OtherNames {
  std::vector<std::string> whole;  // all or a part of what it is: its partitions, the file that a loop device shows
  std::vector<std::string> below;  // what it is a part of: a partition's disk, what a volume or an array is made of
  friend bool operator==(const OtherNames&, const OtherNames&) = default;
};
OtherNames other_names(const struct stat& info, const topology::Sysfs& sysfs = topology::Sysfs{});

// How the host itself uses it: "it is mounted on '/mnt'", "its partition sda2 is swap"; "" where nothing is known of it.
std::string use_by_host(const struct stat& info, const topology::Sysfs& sysfs = topology::Sysfs{});

// The kernel's own word on a block device (which also knows what other mount namespaces, ZFS and bcache have): it has it for itself
// alone, as for a mount. path: the device's.
bool is_taken_exclusively(const std::string& path);

// The QEMU that has locked this image against us: "QEMU of VM 'al', pid 4711"; "" if none has. writes: we mean to.
std::string locked_by(const std::string& path, bool writes);

}  // namespace launcher::facts
