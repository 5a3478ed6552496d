// What this machine says of a disk's file, before the plan. The rule: read-only, and nothing is run.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "launcher/devices/disk.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/facts/io_uring_probe.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/host/fd.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline devices {

namespace {

namespace fs = std::filesystem;

// /sys of the whole disk that a device number is, or is a partition of.
std::string sysfs_of(dev_t device) {
  std::error_code unknown;
  const fs::path link = fs::canonical(fmt::format("/sys/dev/block/{}:{}", major(device), minor(device)), unknown);
  if (unknown) return {};
  return fs::exists(link / "partition", unknown) ? link.parent_path() : link;
}

void look_at_device(Disk::Facts& facts, dev_t device) {
  const std::string disk = sysfs_of(device);
  facts.node = topology::Sysfs{}.node_of(fmt::format("/sys/dev/block/{}:{}", major(device), minor(device)));
  if (disk.empty()) return;
  std::error_code none;
  const auto queues = std::distance(fs::directory_iterator(disk + "/mq", none), fs::directory_iterator());
  if (!none && queues > 0) facts.hardware_queues = static_cast<unsigned>(queues);
  if (!facts.is_block) return;
  const auto number = [&](const char* name) -> std::optional<unsigned> {
    const auto value = topology::Sysfs{}.read_number(fmt::format("{}/queue/{}", disk, name));
    return value ? std::optional(static_cast<unsigned>(*value)) : std::nullopt;
  };
  facts.logical_block = number("logical_block_size");
  facts.physical_block = number("physical_block_size");
}

std::uint64_t bytes_of(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return 0;
  const off_t end = lseek(fd.get(), 0, SEEK_END);  // of a block device, too
  return end > 0 ? static_cast<std::uint64_t>(end) : 0;
}

// qemu-img of the same build lies beside the QEMU; else the one in PATH.
std::string find_qemu_img(const HostConfig& config) {
  if (const auto qemu = find_qemu(config.qemu)) {
    const fs::path beside = fs::path(*qemu).parent_path() / "qemu-img";
    if (access(beside.c_str(), X_OK) == 0) return beside;
  }
  return find_qemu("qemu-img").value_or("");
}

void look_at_directory(Disk::Facts& facts, const std::string& directory) {
  facts.directory = directory;
  struct statvfs room {};
  facts.directory_why = misfit(directory, {S_IFDIR}, W_OK | X_OK);
  if (statvfs(directory.c_str(), &room) == 0) facts.room = std::uint64_t{room.f_bavail} * room.f_frsize;
}

// Where an overlay is made: as the host's settings say, else beside the image, else /var/tmp.
std::string overlay_directory(const Disk& disk, const Disk::Facts& facts, const HostConfig& config) {
  if (config.overlays) return *config.overlays;
  const std::string beside = fs::path(disk.path).parent_path();
  return !facts.is_block && access(beside.c_str(), W_OK | X_OK) == 0 ? beside : "/var/tmp";
}

// What the guest cannot change says it: the spec, the kind of the file, its name.
std::string format_of(const Disk& disk, const Disk::Facts& facts) {
  return disk.format.value_or(facts.is_block ? "raw" : format_by_name(disk.path));
}

// An image stated to be raw is not read at all; another is asked whether it agrees, and one served as qcow2 what it stands on.
void look_at_image(Disk::Facts& facts, const Disk& disk) {
  facts.format = format_of(disk, facts);
  if (disk.format != "raw") facts.looks = format_by_bytes(head_of(disk.path));
  facts.bytes = bytes_of(disk.path);
  if (facts.format != "qcow2" || facts.looks != "qcow2") return;
  const auto image = read_qcow2(disk.path);
  if (!image) {
    facts.chain_problem = image.error();
    return;
  }
  facts.chain = image->chain;
  facts.bytes = image->bytes;
  for (const Image& one : facts.chain) {
    struct stat info {};
    facts.chain_ids.push_back(stat(one.path.c_str(), &info) == 0 ? file_id(info) : "");
  }
}

// Who else has it. What is only read may be in use by the host: it is not harmed.
void look_at_others(Disk::Facts& facts, const Disk& disk, const struct stat& info) {
  facts.id = file_id(info);
  facts.names = other_names(info);
  if (S_ISREG(info.st_mode))  // a VM that had it made has claimed its place
    if (const auto ids = identities(disk.path); ids.size() > 1) facts.names.whole.push_back(ids.back());
  facts.locked_by = locked_by(disk.path, disk.writes());
  if (!disk.writes()) return;
  facts.used_by_host = use_by_host(info);
  if (facts.used_by_host.empty() && facts.is_block && is_taken_exclusively(disk.path))
    facts.used_by_host =
        "the kernel or a process has it for itself alone (a mount elsewhere, ZFS, bcache, a formatter)";
}

void try_io(Disk::Facts& facts, const std::string& path) {
  const IoProbe io = probe_io(path);
  facts.direct_io = io.direct_io;
  facts.io_uring = io.io_uring;
  facts.io_uring_why = io.why;
  // What root may is not what QEMU may: with 1, only CAP_SYS_ADMIN (and a group that QEMU is not in) gets a ring.
  if (facts.io_uring && geteuid() == 0 && topology::Sysfs{}.read_number("/proc/sys/kernel/io_uring_disabled") == 1u) {
    facts.io_uring = false;
    facts.io_uring_why = "kernel.io_uring_disabled = 1 forbids it to processes without rights, and QEMU is one";
  }
}

}  // namespace

Disk::Facts look_at(const Disk& disk, const HostConfig& config) {
  Disk::Facts facts;
  facts.looked = true;
  struct stat info {};
  facts.exists = stat(disk.path.c_str(), &info) == 0 && (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode));
  facts.misfit = misfit(disk.path, {S_IFREG, S_IFBLK}, disk.writes() ? R_OK | W_OK : R_OK);
  if (disk.create || disk.ephemeral) facts.qemu_img = find_qemu_img(config);
  if (!facts.exists && disk.create) {
    const std::string directory = fs::path(disk.path).parent_path();
    look_at_directory(facts, directory);
    if (lstat(disk.path.c_str(), &info) == 0) facts.directory_why = fmt::format("'{}' is no file", disk.path);
    if (stat(directory.c_str(), &info) == 0) {
      look_at_device(facts, info.st_dev);
      if (const auto ids = identities(disk.path); !ids.empty()) facts.id = ids.back();
    }
    facts.format = format_of(disk, facts);
    try_io(facts, "/proc/self/exe");  // there is no such file to try yet
    facts.direct_io = true;
    return facts;
  }
  if (!facts.exists) return facts;
  facts.is_block = S_ISBLK(info.st_mode);
  look_at_device(facts, facts.is_block ? info.st_rdev : info.st_dev);  // an image's file system stands on a disk
  facts.readable = facts.misfit.empty();
  if (!facts.readable) return facts;
  look_at_image(facts, disk);
  look_at_others(facts, disk, info);
  if (disk.ephemeral) look_at_directory(facts, overlay_directory(disk, facts, config));
  try_io(facts, disk.path);
  return facts;
}

// Of another machine, whose files nobody can look at: there, and fit.
Disk::Facts assumed(const Disk& disk) {
  Disk::Facts facts;
  facts.exists = !disk.create;
  facts.readable = facts.direct_io = facts.io_uring = true;
  facts.is_block = disk.path.starts_with("/dev/");
  facts.format = format_of(disk, facts);
  if (facts.format == "qcow2") facts.looks = "qcow2";
  facts.directory = facts.is_block ? fs::path("/var/tmp") : fs::path(disk.path).parent_path();
  facts.qemu_img = "/usr/bin/qemu-img";
  return facts;
}

}  // namespace launcher::devices
