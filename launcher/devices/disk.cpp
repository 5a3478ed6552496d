// A disk's keys, and what it becomes on the command line. The rule: what two of its own keys rule out together is said
// here; what needs other tables is in spec_rules, what needs the file itself is found out before the plan.
#include "launcher/devices/disk.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/io_uring_probe.hpp"
#include "launcher/toml_reader.hpp"
#include "topology/sysfs.hpp"

namespace launcher {

namespace {

constexpr std::size_t longest_serial = 20;   // VIRTIO_BLK_ID_BYTES, virtio 1.2 section 5.2.6
constexpr unsigned most_disk_queues = 1024;  // VIRTIO_QUEUE_MAX in QEMU

void check_aio(TableReader& table, const Disk& disk) {
  const bool direct = disk.cache == Disk::Cache::none || disk.cache == Disk::Cache::directsync;
  if (disk.aio == Disk::Aio::native && !direct)
    table.problem(
        "aio",
        "\"native\" works only on files opened with O_DIRECT, and this disk's cache mode goes through the page "
        "cache; wanted cache \"none\" or \"directsync\" with it",
        "set cache = \"none\", or aio = \"io_uring\" (which works with every cache mode)");
}

void check_serial(TableReader& table, const Disk& disk) {
  if (disk.serial.size() > longest_serial)
    table.problem("serial",
                  fmt::format("{} bytes long; wanted at most {}, which is all that virtio-blk passes to the guest",
                              disk.serial.size(), longest_serial),
                  "shorten it, or leave it out: it is then derived from the VM's name");
  for (unsigned char byte : disk.serial)
    if (byte < 0x20 || byte >= 0x7f) {
      table.problem("serial", fmt::format("contains the byte 0x{:02x}; wanted printable ASCII", byte),
                    "use letters, digits and punctuation only: guests make a device name of it");
      return;
    }
}

}  // namespace

Disk Disk::read(TableReader& table) {
  Disk disk;
  disk.path = table.path("path", true);
  const std::vector<std::string> formats = {"auto", "raw", "qcow2"};
  if (const std::size_t format = table.choice("format", formats, 0); format > 0) disk.format = formats[format];
  disk.cache =
      static_cast<Cache>(table.choice("cache", {"none", "writeback", "writethrough", "directsync", "unsafe"}, 0));
  if (const std::size_t aio = table.choice("aio", {"auto", "io_uring", "native", "threads"}, 0); aio > 0)
    disk.aio = static_cast<Aio>(aio - 1);
  disk.queues = table.integer_or_auto("queues", 1, most_disk_queues);
  disk.iothread = table.flag("iothread", true);
  disk.packed = table.flag_or_auto("packed");
  disk.discard = table.flag("discard", true);
  disk.read_only = table.flag("read_only", false);
  disk.serial = table.text("serial", "");
  check_aio(table, disk);
  check_serial(table, disk);
  return disk;
}

Disk::Facts look_at(const Disk& disk) {
  Disk::Facts facts;
  struct stat info {};
  facts.exists = stat(disk.path.c_str(), &info) == 0 && (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode));
  if (!facts.exists) return facts;
  facts.is_block = S_ISBLK(info.st_mode);
  const dev_t disk_device = facts.is_block ? info.st_rdev : info.st_dev;  // an image's file system stands on a disk
  facts.node = topology::Sysfs{}.node_of(fmt::format("/sys/dev/block/{}:{}", major(disk_device), minor(disk_device)));
  facts.readable = access(disk.path.c_str(), disk.read_only ? R_OK : R_OK | W_OK) == 0;
  if (!facts.readable) return facts;
  const auto image = read_image(disk.path);
  facts.format = image ? image->format : "raw";
  if (image) facts.chain = image->chain;
  if (!image) facts.chain_problem = image.error();
  const IoProbe io = probe_io(disk.path);
  facts.direct_io = io.direct_io;
  facts.io_uring = io.io_uring;
  facts.io_uring_why = io.why;
  // What root may is not what QEMU may: with 1, only CAP_SYS_ADMIN (and a group that QEMU is not in) gets a ring.
  if (facts.io_uring && geteuid() == 0 && topology::Sysfs{}.read_number("/proc/sys/kernel/io_uring_disabled") == 1u) {
    facts.io_uring = false;
    facts.io_uring_why = "kernel.io_uring_disabled = 1 forbids it to processes without rights, and QEMU is one";
  }
  return facts;
}

// Of another machine, whose files nobody can look at: there, and fit.
Disk::Facts assumed(const Disk& disk) {
  Disk::Facts facts;
  facts.exists = facts.readable = facts.direct_io = facts.io_uring = true;
  facts.is_block = disk.path.starts_with("/dev/");
  facts.format = disk.format.value_or(disk.path.ends_with(".qcow2") ? "qcow2" : "raw");
  return facts;
}

DeviceNeeds needs(const Disk& disk, const Disk::Facts& facts, unsigned) {
  return {.iothreads = disk.iothread ? 1u : 0u, .node = facts.node, .boots = true};
}

namespace {

const char* name_of(Disk::Aio aio) {
  switch (aio) {
    case Disk::Aio::io_uring:
      return "io_uring";
    case Disk::Aio::native:
      return "native";
    case Disk::Aio::threads:
      return "threads";
  }
  return "threads";
}

bool is_direct(Disk::Cache cache) { return cache == Disk::Cache::none || cache == Disk::Cache::directsync; }
bool has_write_cache(Disk::Cache cache) {
  return cache != Disk::Cache::writethrough && cache != Disk::Cache::directsync;
}

void check_file(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  if (!facts.exists) {
    context.problem("path", fmt::format("there is no file '{}'; wanted an image or a block device", disk.path),
                    "make one with `qemu-img create -f raw FILE 20G`, or correct the path");
    return;
  }
  if (!facts.readable) {
    context.problem("path",
                    fmt::format("'{}' cannot be opened {} by this user", disk.path,
                                disk.read_only ? "for reading" : "for reading and writing"),
                    "run vmrun as root or as the file's owner, or set read_only = true");
    return;
  }
  if (!facts.chain_problem.empty() && disk.format != "raw")
    context.problem("path", facts.chain_problem, "wanted a raw or qcow2 image whose backing files are all there");
  if (disk.format && *disk.format == "qcow2" && facts.format != "qcow2")
    context.problem("format",
                    fmt::format("\"qcow2\", but '{}' is no qcow2 image; wanted the format of the file", disk.path),
                    "set format = \"raw\" or leave it out");
  if (disk.format && *disk.format == "raw" && facts.format == "qcow2")
    context.problem(
        "format",
        fmt::format("\"raw\", but '{}' is a qcow2 image: the guest would see its metadata as a disk", disk.path),
        "set format = \"qcow2\" or leave it out");
  if (is_direct(disk.cache) && !facts.direct_io)
    context.problem("cache", "this cache mode opens with O_DIRECT, which this file's file system refuses",
                    "set cache = \"writeback\", or move the image");
}

Disk::Aio choose_aio(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  const bool known = context.qemu.has("aio.io_uring");
  if (disk.aio == Disk::Aio::io_uring && !(known && facts.io_uring)) {
    context.problem("aio",
                    known ? fmt::format("\"io_uring\" was tried on this very file and failed ({})", facts.io_uring_why)
                          : fmt::format("QEMU {} was built without io_uring", context.qemu.version),
                    "set aio = \"auto\" or \"native\"");
  }
  if (disk.aio) return *disk.aio;
  if (known && facts.io_uring) return Disk::Aio::io_uring;
  const bool native = is_direct(disk.cache) && facts.direct_io && context.qemu.has("aio.native");
  const Disk::Aio chosen = native ? Disk::Aio::native : Disk::Aio::threads;
  context.note("aio", fmt::format("{} instead of io_uring: {}", name_of(chosen),
                                  known ? facts.io_uring_why : "this QEMU was built without it"));
  return chosen;
}

// The protocol layer of one image: its file as an fd of an fdset, so that QEMU's user needs no path.
void add_file_node(DeviceContext& context, const std::string& node, const std::string& path, bool writable,
                   const Disk& disk, Disk::Aio aio, bool is_block) {
  const int fd = context.fds.take(node);
  context.steps.push_back({OpenFile{path, writable, false, fd, is_direct(disk.cache)},
                           "QEMU gets the open file, not the path", context.origin("path")});
  context.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", path), "the open image",
                   context.origin("path"));
  Opts file;
  file.set("driver", is_block ? "host_device" : "file")
      .set("node-name", node)
      .set("filename", "/dev/fdset/" + std::to_string(fd));
  file.set("aio", name_of(aio))
      .set("cache.direct", is_direct(disk.cache))
      .set("cache.no-flush", disk.cache == Disk::Cache::unsafe);
  file.set("discard", disk.discard && writable ? "unmap" : "ignore")
      .set("read-only", !writable)
      .set("auto-read-only", false);
  context.args.add(
      "-blockdev", file,
      fmt::format("{} by {}", is_direct(disk.cache) ? "past the page cache" : "through the page cache", name_of(aio)),
      context.origin(disk.aio ? "aio" : "path"));
}

void add_format_node(DeviceContext& context, const std::string& node, const std::string& file,
                     const std::string& backing, bool writable, const Disk& disk) {
  Opts format("");
  format.set("driver", "qcow2")
      .set("node-name", node)
      .set("file", file)
      .set("read-only", !writable)
      .set("auto-read-only", false);
  format.set("cache.direct", is_direct(disk.cache)).set("cache.no-flush", disk.cache == Disk::Cache::unsafe);
  format.set("discard", disk.discard && writable ? "unmap" : "ignore");
  if (!backing.empty()) format.set("backing", backing);
  context.args.add("-blockdev", format, "the image's format", context.origin(disk.format ? "format" : "path"));
}

// Returns the node the guest's disk stands on. Backing files come first: a node must exist before it is named.
std::string add_nodes(const Disk& disk, const Disk::Facts& facts, DeviceContext& context, Disk::Aio aio) {
  const std::string base = fmt::format("disk{}", context.index);
  std::string below;
  for (std::size_t i = facts.chain.size(); i-- > 0;) {
    const std::string node = fmt::format("{}-backing{}", base, i);
    const bool raw = facts.chain[i].format == "raw";
    add_file_node(context, raw ? node : node + "-file", facts.chain[i].path, false, disk, aio, false);
    if (!raw) add_format_node(context, node, node + "-file", below, false, disk);
    below = node;
  }
  const std::string node = base + "-image";
  const std::string format = disk.format.value_or(facts.format);
  add_file_node(context, format == "raw" ? node : base + "-file", disk.path, !disk.read_only, disk, aio,
                facts.is_block);
  if (format != "raw") add_format_node(context, node, base + "-file", below, !disk.read_only, disk);
  return node;
}

bool choose_packed(const Disk& disk, const DeviceContext& context) {
  const bool known = context.qemu.has("virtio-blk-pci.packed");
  if (disk.packed == true && !known)
    context.problem("packed", fmt::format("QEMU {} has no packed virtqueues for virtio-blk", context.qemu.version),
                    "remove packed");
  return disk.packed.value_or(known);
}

}  // namespace

void plan_device(const Disk& disk, const Disk::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  check_file(disk, facts, context);
  const Disk::Aio aio = choose_aio(disk, facts, context);
  const bool packed = choose_packed(disk, context);
  if (context.problems.size() > problems) return;
  const std::string node = add_nodes(disk, facts, context, aio);
  const unsigned queues = disk.queues.value_or(std::min(context.vcpus, most_disk_queues));
  Opts device("virtio-blk-pci");
  device.set("id", fmt::format("disk{}", context.index)).set("drive", node);
  context.set_address(device);
  device.set("num-queues", queues).set("packed", packed).set("write-cache", has_write_cache(disk.cache));
  device.set("serial", disk.serial.empty() ? fmt::format("{:.16}-{}", context.vm, context.index) : disk.serial);
  if (!context.iothreads.empty()) device.set("iothread", context.iothreads.front());
  device.set("bootindex", context.index + 1);
  context.args.add(
      "-device", device,
      fmt::format("{}, {} ring{}",
                  queues == context.vcpus ? "one virtqueue per vCPU" : fmt::format("{} virtqueues", queues),
                  packed ? "packed" : "split", context.iothreads.empty() ? "" : ", an iothread of its own"),
      disk.queues ? context.origin("queues") : "guide 001");
}

}  // namespace launcher
