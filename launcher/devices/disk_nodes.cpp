// The graph of block nodes under a disk: files, formats, backing images, the overlay, the limit. The rule: files come as
// open descriptors, so that QEMU's user needs no path; a node is written before it is named.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/disk.hpp"

namespace launcher::inline devices {

namespace {

struct ImageNode {
  std::string node, path;
  bool writable = false, is_block = false;
};

Opts& set_cache(Opts& opts, const Disk& disk) {
  return opts.set("cache.direct", is_direct(disk.cache)).set("cache.no-flush", disk.cache == Disk::Cache::unsafe);
}

// What is decided at the node that takes the guest's writes.
void set_zeroes(Opts& opts, const Disk& disk, bool top) {
  if (top && disk.detect_zeroes != Disk::Zeroes::off)
    opts.set("detect-zeroes", disk.detect_zeroes == Disk::Zeroes::unmap ? "unmap" : "on");
}

// An fd of QEMU's set holds the file; `path` is for people.
void add_file_node(DeviceContext& context, const ImageNode& file, int fd, const Disk& disk, Disk::Aio aio, bool top) {
  context.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", file.path), "the open image",
                   context.origin("path"));
  Opts opts;
  opts.set("driver", file.is_block ? "host_device" : "file")
      .set("node-name", file.node)
      .set("filename", "/dev/fdset/" + std::to_string(fd))
      .set("aio", name_of(aio));
  set_cache(opts, disk)
      .set("discard", disk.discard && file.writable ? "unmap" : "ignore")
      .set("read-only", !file.writable)
      .set("auto-read-only", false);
  set_zeroes(opts, disk, top);
  context.args.add(
      "-blockdev", opts,
      fmt::format("{} by {}", is_direct(disk.cache) ? "past the page cache" : "through the page cache", name_of(aio)),
      context.origin(disk.aio ? "aio" : "path"));
}

int open_file(DeviceContext& context, const ImageNode& file, const Disk& disk) {
  const int fd = context.fds.take(file.node);
  context.steps.push_back({OpenFile{file.path, file.writable, false, fd, is_direct(disk.cache)},
                           "QEMU gets the open file, not the path", context.origin("path")});
  return fd;
}

struct FormatNode {
  std::string node, file, backing, key;
  bool writable = false;
};

void add_format_node(DeviceContext& context, const FormatNode& format, const Disk& disk, bool top) {
  Opts opts("");
  opts.set("driver", "qcow2")
      .set("node-name", format.node)
      .set("file", format.file)
      .set("read-only", !format.writable)
      .set("auto-read-only", false);
  set_cache(opts, disk).set("discard", disk.discard && format.writable ? "unmap" : "ignore");
  if (disk.l2_cache) opts.set("l2-cache-size", disk.l2_cache->count);
  if (!format.backing.empty()) opts.set("backing", format.backing);
  set_zeroes(opts, disk, top);
  context.args.add("-blockdev", opts,
                   format.key == "ephemeral" ? "what the guest writes, gone with the VM" : "the image's format",
                   context.origin(format.key));
}

int make_image(DeviceContext& context, const Disk& disk, const Disk::Facts& facts, const std::string& node,
               const std::string& name) {
  constexpr std::uint64_t sector = 512;  // qcow2 has whole ones
  const int fd = context.fds.take(node);
  const bool overlay = name.empty();
  MakeImage image{.directory = facts.directory,
                  .name = name,
                  .format = overlay ? "qcow2" : facts.format,
                  .size = overlay ? topology::Bytes{(facts.bytes + sector - 1) / sector * sector} : disk.create->size,
                  .preallocation = overlay ? "off" : disk.create->preallocation,
                  .qemu_img = facts.qemu_img,
                  .log = context.run_dir + "/qemu-img.log",
                  .fd = fd,
                  .direct = is_direct(disk.cache)};
  context.steps.push_back({image, overlay ? "the image is never written" : "there is no image yet",
                           context.origin(overlay ? "ephemeral" : "create")});
  return fd;
}

std::string add_overlay(DeviceContext& context, const Disk& disk, const Disk::Facts& facts, const std::string& below,
                        Disk::Aio aio) {
  const std::string node = fmt::format("disk{}-overlay", context.index);
  const ImageNode file{.node = node + "-file", .path = node, .writable = true};
  add_file_node(context, file, make_image(context, disk, facts, file.node, ""), disk, aio, false);
  add_format_node(context, {.node = node, .file = file.node, .backing = below, .key = "ephemeral", .writable = true},
                  disk, true);
  return node;
}

// Limits are kept by a filter node above everything else, so that they count what the guest asks for.
std::string add_limit(DeviceContext& context, const Disk& disk, const std::string& below) {
  const std::string node = fmt::format("disk{}-limit", context.index);
  const std::string group = disk.limit.group.empty() ? node + "s" : "limit-" + disk.limit.group;
  if (context.results.limits.insert(group).second)
    context.args.add(
        "-object",
        boost::json::object{{"qom-type", "throttle-group"}, {"id", group}, {"limits", throttle_limits(disk.limit)}},
        text_of(disk.limit) + " per second" + (disk.limit.group.empty() ? "" : ", together"), context.origin("limit"));
  Opts opts;
  opts.set("driver", "throttle")
      .set("node-name", node)
      .set("throttle-group", group)
      .set("file", below)
      .set("discard", disk.discard && !disk.read_only ? "unmap" : "ignore")
      .set("read-only", disk.read_only)
      .set("auto-read-only", false);
  context.args.add("-blockdev", opts, "what the guest asks for waits here", context.origin("limit"));
  return node;
}

}  // namespace

std::string name_of(Disk::Aio aio) {
  constexpr const char* words[] = {"io_uring", "native", "threads"};
  return words[static_cast<int>(aio)];
}

std::string add_nodes(const Disk& disk, const Disk::Facts& facts, DeviceContext& context, Disk::Aio aio) {
  const std::string base = fmt::format("disk{}", context.index);
  std::string below;
  for (std::size_t i = facts.chain.size(); i-- > 0;) {
    const std::string node = fmt::format("{}-backing{}", base, i);
    const bool raw = facts.chain[i].format == "raw";
    const ImageNode file{.node = raw ? node : node + "-file", .path = facts.chain[i].path};
    add_file_node(context, file, open_file(context, file, disk), disk, aio, false);
    if (!raw) add_format_node(context, {.node = node, .file = file.node, .backing = below, .key = "path"}, disk, false);
    below = node;
  }
  const std::string node = base + "-image";
  const bool raw = facts.format == "raw";  // a node of its file alone: QEMU looks for no format in what is in it
  const ImageNode file{
      .node = raw ? node : base + "-file", .path = disk.path, .writable = disk.writes(), .is_block = facts.is_block};
  const bool made = !facts.exists;
  const int fd = made ? make_image(context, disk, facts, file.node, std::filesystem::path(disk.path).filename())
                      : open_file(context, file, disk);
  add_file_node(context, file, fd, disk, aio, raw && !disk.ephemeral);
  if (!raw)
    add_format_node(context,
                    {.node = node,
                     .file = file.node,
                     .backing = below,
                     .key = disk.format ? "format" : "path",
                     .writable = disk.writes()},
                    disk, !disk.ephemeral);
  std::string top = disk.ephemeral ? add_overlay(context, disk, facts, node, aio) : node;
  return disk.limit.wanted() ? add_limit(context, disk, top) : top;
}

}  // namespace launcher::devices
