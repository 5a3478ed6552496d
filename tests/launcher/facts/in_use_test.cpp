// Who has a device or an image: over trees as the kernel shows them, and over files of this machine.
#include "launcher/facts/in_use.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

struct stat block(unsigned high, unsigned low) {
  struct stat info {};
  info.st_mode = S_IFBLK;
  info.st_rdev = makedev(high, low);
  return info;
}

// A disk sda (8:0) with sda1 and sda2, as /sys shows them.
struct Tree : fakes::TempDir {
  topology::Sysfs sysfs{path()};
  Tree() {
    const fs::path disk = path() / "sys/devices/pci/block/sda";
    fs::create_directories(path() / "sys/dev/block");
    fs::create_directories(path() / "sys/class/block");
    fs::create_directories(disk / "holders");
    fakes::write_file(disk / "dev", "8:0\n");
    for (const std::string number : {"1", "2"}) {
      const fs::path part = disk / ("sda" + number);
      fs::create_directories(part / "holders");
      fakes::write_file(part / "dev", "8:" + number + "\n");
      fakes::write_file(part / "partition", number + "\n");
      link(part, "8:" + number);
    }
    link(disk, "8:0");
  }
  void link(const fs::path& device, const std::string& number) {
    fs::create_directory_symlink(device, path() / "sys/dev/block" / number);
    fs::create_directory_symlink(device, path() / "sys/class/block" / device.filename());
  }
  std::string use(unsigned minor) const { return use_by_host(block(8, minor), sysfs); }
};

}  // namespace

TEST_CASE("a device that is mounted, or whose partition or disk is, is in use") {
  Tree tree;
  CHECK(tree.use(0) == "");
  fakes::write_file(tree / "proc/self/mountinfo",
                    "22 1 8:2 / /mnt\\040a rw,relatime shared:1 - ext4 /dev/no-such-device rw\n");
  CHECK(tree.use(2) == "it is mounted on '/mnt\\040a'");
  CHECK(tree.use(0) == "its partition sda2 is mounted on '/mnt\\040a'");
  CHECK(tree.use(1) == "");
}

TEST_CASE("what a volume or an array is built on is in use") {
  Tree tree;
  fs::create_directories(tree / "sys/devices/pci/block/sda/sda1/holders/dm-0");
  fakes::write_file(tree / "sys/class/block/dm-0/dm/name", "vg-root\n");
  CHECK(tree.use(1) == "it is a part of dm-0 (vg-root)");
  CHECK(tree.use(0) == "its partition sda1 is a part of dm-0 (vg-root)");
  CHECK(tree.use(2) == "");
  fs::create_directories(tree / "sys/devices/pci/block/sda/holders/md0");
  CHECK(tree.use(2) == "the disk it is a part of, sda, is a part of md0");
}

TEST_CASE("a device's other names are told: its partitions, a loop device's file, and what it is a part of") {
  Tree tree;
  CHECK(other_names(block(8, 0), tree.sysfs) == OtherNames{{"block 8:1", "block 8:2"}, {}});
  CHECK(other_names(block(8, 1), tree.sysfs) == OtherNames{{}, {"block 8:0"}});
  // a volume on sda1 and on a partition of a loop device
  const std::string file = tree / "image.raw";
  fakes::write_file(file, "x");
  struct stat info {};
  REQUIRE(stat(file.c_str(), &info) == 0);
  const fs::path loop = tree / "sys/devices/virtual/block/loop3", volume = tree / "sys/devices/virtual/block/dm-0";
  fakes::write_file(loop / "dev", "7:3\n");
  fakes::write_file(loop / "loop/backing_file", file + "\n");
  fakes::write_file(loop / "loop3p1/dev", "259:1\n");
  fakes::write_file(loop / "loop3p1/partition", "1\n");
  fs::create_directories(volume / "slaves/sda1");
  fs::create_directories(volume / "slaves/loop3p1");
  tree.link(loop, "7:3");
  tree.link(loop / "loop3p1", "259:1");
  tree.link(volume, "253:0");
  CHECK(other_names(block(7, 3), tree.sysfs) == OtherNames{{"block 259:1", file_id(info)}, {}});
  CHECK(other_names(block(259, 1), tree.sysfs) == OtherNames{{}, {"block 7:3", file_id(info)}});
  OtherNames of_volume = other_names(block(253, 0), tree.sysfs);
  std::ranges::sort(of_volume.below);
  CHECK(of_volume == OtherNames{{}, {"block 259:1", "block 7:3", "block 8:0", "block 8:1", file_id(info)}});
}

TEST_CASE("a file that is swap or has a loop device is in use") {
  Tree tree;
  const std::string file = tree / "image.raw";
  fakes::write_file(file, "x");
  struct stat info {};
  REQUIRE(stat(file.c_str(), &info) == 0);
  CHECK(use_by_host(info, tree.sysfs) == "");
  fakes::write_file(tree / "sys/class/block/loop3/loop/backing_file", file + "\n");
  fakes::write_file(tree / "sys/class/block/loop3/ro", "0\n");
  CHECK(use_by_host(info, tree.sysfs) == "it is attached to /dev/loop3");
  fakes::write_file(tree / "sys/class/block/loop3/ro", "1\n");
  CHECK(use_by_host(info, tree.sysfs) == "");
  fakes::write_file(tree / "proc/swaps", "Filename Type Size Used Priority\n" + file + " file 1 0 -2\n");
  CHECK(use_by_host(info, tree.sysfs) == "it is swap");
}

TEST_CASE("QEMU's locks on an image are seen, for what we mean to do") {
  const fakes::TempDir dir;
  const std::string file = dir / "image.raw";
  fakes::write_file(file, std::string(4096, 'x'));
  const int fd = open(file.c_str(), O_RDWR | O_CLOEXEC);
  const auto lock = [&](off_t byte) {
    struct flock one {};
    one.l_type = F_RDLCK, one.l_whence = SEEK_SET, one.l_start = byte, one.l_len = 1;
    REQUIRE(fcntl(fd, F_OFD_SETLK, &one) == 0);
  };
  CHECK(locked_by(file, true) == "");
  lock(201);  // a reader: nobody may write
  CHECK(locked_by(file, false) == "");
  CHECK(locked_by(file, true) == "another process");  // it is ourselves, whom nobody has to be told
  lock(101);                                          // a writer
  CHECK(locked_by(file, false) == "another process");
  close(fd);
}
