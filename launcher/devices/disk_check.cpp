// What a disk's file cannot be. The rule: what a guest can write decides nothing here; every refusal names the key and the way to a
// plan that works.
#include <fmt/format.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/disk.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

namespace {

void check_readable(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  if (!facts.exists)
    context.problem("path", facts.misfit + "; wanted an image or a block device",
                    "correct the path, or add create = { size = \"20G\" } for an image that is made there");
  else if (!facts.readable)
    context.problem("path", facts.misfit + "; wanted an image or a block device that is this user's to open",
                    disk.writes() ? "run vmrun as root or as the file's owner, or set read_only = true"
                                  : "run vmrun as root or as the file's owner");
}

// A guest chooses the bytes of a raw image, so they never choose its format: where the file's name or kind says another one than
// they, somebody who knows has to state it.
void check_auto(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  const std::string name = printable(disk.path);
  const char* found = facts.is_block ? "is a block device, so raw" : "is raw by its name";
  if (facts.format.empty())
    context.problem(
        "path",
        fmt::format("'{}' does not say by its name which format it has{}; wanted .raw, .img, .iso or .qcow2 at "
                    "its end, or the format stated: its bytes a guest could choose",
                    name, facts.looks.empty() ? "" : fmt::format(" (its first bytes are {}'s)", facts.looks)),
        "add format = \"raw\" (a disk as it is), or format = \"qcow2\"");
  else if (facts.format == "qcow2" && facts.looks != "qcow2")
    context.problem("path", fmt::format("'{}' is qcow2 by its name, and its bytes are not; wanted both to agree", name),
                    "add format = \"raw\", or name the image that is meant");
  else if (facts.format == "raw" && facts.looks == "qcow2")
    context.problem("path",
                    fmt::format("'{}' {}, and its first bytes are those of a qcow2 image; wanted both to agree, or the "
                                "format stated: a guest can write such bytes into a raw disk",
                                name, found),
                    "add format = \"raw\" if a guest may have written them, or format = \"qcow2\" if you made it so");
  else if (facts.format == "raw" && !facts.looks.empty())
    context.problem(
        "path",
        fmt::format("'{}' {}, and its first bytes are those of a {} image; wanted both to agree", name, found,
                    facts.looks),
        fmt::format("convert it with `qemu-img convert -O raw {} NEW`, or add format = \"raw\" if a guest wrote them",
                    name));
}

void check_format(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  if (!disk.format) check_auto(disk, facts, context);
  if (!facts.chain_problem.empty())
    context.problem("path", facts.chain_problem,
                    "state what it stands on with `qemu-img rebase -u -F raw|qcow2 -b BACKING IMAGE`, or make one "
                    "image of all of it with "
                    "`qemu-img convert`");
  if (disk.format == "qcow2" && facts.looks != "qcow2")
    context.problem(
        "format",
        fmt::format("\"qcow2\", but '{}' is no qcow2 image; wanted the format of the file", printable(disk.path)),
        "set format = \"raw\"");
  if (disk.l2_cache && facts.format != "qcow2")
    context.problem("l2_cache", "given for an image that is not qcow2; wanted it for qcow2 only, whose tables it holds",
                    "remove l2_cache");
  if (is_direct(disk.cache) && !facts.direct_io)
    context.problem("cache", "this cache mode opens with O_DIRECT, which this file's file system refuses",
                    "set cache = \"writeback\", or move the image");
}

// Of an image or overlay that is to be made.
void check_making(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  const char* key = disk.ephemeral ? "ephemeral" : "create";
  if (facts.qemu_img.empty())
    context.problem(key, "needs qemu-img, which lies neither beside QEMU nor in PATH",
                    "install it (Debian: qemu-utils)");
  if (!facts.directory_why.empty())
    context.problem(key, facts.directory_why + "; wanted one where a file can be made",
                    disk.ephemeral ? "set overlays in /etc/vmrun/host.toml" : "make it, or correct disk.path");
  const bool whole = disk.create && (disk.create->preallocation == "falloc" || disk.create->preallocation == "full");
  if (whole && facts.looked && facts.room < disk.create->size.count)
    context.problem("create.size",
                    fmt::format("{} are free in '{}', preallocation \"{}\" needs {}",
                                to_string(topology::Bytes{facts.room >> 20 << 20}), facts.directory,
                                disk.create->preallocation, to_string(disk.create->size)),
                    "make room, or set preallocation = \"off\"");
}

}  // namespace

void check(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  if (!facts.exists && disk.create) {
    if (facts.format.empty()) check_auto(disk, facts, context);
    check_making(disk, facts, context);
    return;
  }
  check_readable(disk, facts, context);
  if (!facts.exists || !facts.readable) return;
  if (!facts.used_by_host.empty())
    context.problem(
        "path",
        fmt::format("'{}' is in use by this host: {}; wanted one that only this VM writes to", printable(disk.path),
                    facts.used_by_host),
        "have the host let go of it (umount, swapoff, vgchange -an, losetup -d), or set read_only = true or "
        "ephemeral = true");
  check_format(disk, facts, context);
  if (disk.ephemeral) check_making(disk, facts, context);
}

}  // namespace launcher::devices
