// Where the bytes of a command line's disk are, and how the host reads them: -drive, or a chain of -blockdev.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "launcher/import/argv.hpp"

namespace launcher::inline import {

namespace {

// "nbd://host/x", "rbd:pool/image", "json:{...}": no file of this host's
bool is_remote(std::string_view path) {
  const std::size_t colon = path.find(':');
  return colon != path.npos && colon > 1 && path.substr(0, colon).find('/') == path.npos && !path.starts_with("file:");
}

constexpr std::string_view openable[] = {"file", "host_device", "host_cdrom", "raw", "qcow2", "throttle"};

// A node of the chain: "file.filename" of a nested one has the prefix "file.".
void follow(ArgvWalk& walk, ArgvOption& node, const std::string& prefix, ArgvSource& source, int depth) {
  const std::string driver = node.get(prefix + "driver");
  if (depth == 0 && std::ranges::find(source.parts, &node) == source.parts.end()) source.parts.push_back(&node);
  if (std::ranges::find(openable, driver) == std::end(openable)) {
    source.refusal =
        fmt::format("its bytes come through '{}': vmrun opens local files and block devices, as raw or qcow2", driver);
    return;
  }
  if (driver == "raw" || driver == "qcow2") {
    if (source.format.empty()) source.format = driver;
    if (node.has(prefix + "offset") || node.has(prefix + "size"))
      source.refusal = "a part of a file only; as a whole the guest would write over the rest";
    if (!node.get(prefix + "encrypt.format").empty())
      source.refusal = "encrypted by QEMU (LUKS); vmrun opens raw and qcow2 only";
  }
  source.read_only = source.read_only || node.on(prefix + "read-only");
  if (node.has(prefix + "filename")) source.path = node.get(prefix + "filename");
  const std::string below = node.get(prefix + "file");
  if (depth > 8) {
    source.refusal = "a chain of more than eight nodes";
  } else if (!below.empty()) {
    if (ArgvOption* next = walk.by_id("blockdev", below); next != nullptr && next != &node)
      follow(walk, *next, "", source, 0);
    else
      source.refusal = fmt::format("node '{}' below it is not there", below);
  } else if (node.has(prefix + "file.driver")) {
    follow(walk, node, prefix + "file.", source, depth + 1);
  }
}

// Names of -drive, of QAPI (-drive's "throttling.", a group's "limits." and "x-"), and of [disk.limit].
struct LimitName {
  const char* drive;
  const char* qapi;
  const char* key;
};
constexpr LimitName limit_names[] = {{"bps", "bps-total", "bytes"},          {"bps_rd", "bps-read", "bytes_read"},
                                     {"bps_wr", "bps-write", "bytes_write"}, {"iops", "iops-total", "iops"},
                                     {"iops_rd", "iops-read", "iops_read"},  {"iops_wr", "iops-write", "iops_write"}};

// A rate, and what it may reach for a moment.
void limit(ArgvWalk& walk, ArgvOption& part, const std::string& handle, const std::array<std::string, 2>& from,
           const std::string& key) {
  const bool bytes = key.starts_with("bytes");
  const std::uint64_t most = bytes ? std::uint64_t{1} << 40 : 1'000'000'000;
  const auto rate = part.number(from[0]), burst = part.number(from[1]);
  const auto put = [&](const std::string& into, std::uint64_t number) {
    bytes ? walk.spec.set(handle + ".limit", into, toml_size(number))
          : walk.spec.number(handle + ".limit", into, number);
  };
  const bool good = rate && *rate <= most, peaks = good && *rate > 0 && burst && *burst > *rate && *burst <= most;
  if (good && *rate > 0) put(key, *rate);
  part.kept_if(good, from[0], fmt::format("{}.limit.{}", handle, key), "more than vmrun's limits go to: no limit");
  if (peaks) put(key + "_burst", *burst);
  part.kept_if(peaks || burst == 0, from[1], fmt::format("{}.limit.{}_burst", handle, key),
               "not above the rate itself, or no rate: no burst");
}

void limits_of(ArgvWalk& walk, ArgvOption& part, const std::string& handle) {
  for (const LimitName& one : limit_names) {
    const std::string qapi = one.qapi, drive = one.drive;
    limit(walk, part, handle, {drive, drive + "_max"}, one.key);
    limit(walk, part, handle, {"throttling." + qapi, "throttling." + qapi + "-max"}, one.key);
  }
  const std::string group = part.get("throttle-group");
  ArgvOption* object = group.empty() ? nullptr : walk.by_id("object", group);
  if (object == nullptr) return;
  object->kept("qom-type", handle + ".limit");
  for (const LimitName& one : limit_names)
    for (const std::string before : {"x-", "limits."})
      limit(walk, *object, handle, {before + one.qapi, before + one.qapi + "-max"}, one.key);
  part.kept("throttle-group", handle + ".limit");
  if (ArgvOption* group_of = walk.by_id("object", part.get("throttle-group")))
    for (const char* key : {"qom-type", "id"}) group_of->kept(key, handle + ".limit");
}

}  // namespace

ArgvSource source_of_drive(ArgvOption& drive) {
  ArgvSource source;
  source.parts.push_back(&drive);
  source.path = drive.get(drive.has("file") ? "file" : "file.filename");
  source.format = drive.get(drive.has("format") ? "format" : "driver");
  for (const char* part : {"file.driver", "file.file.driver"})
    if (drive.has(part) && !drive.is(part, "file") && !drive.is(part, "host_device"))
      source.refusal = "its bytes are in no local file or block device: the guest would lack this disk";
  source.is_cdrom = drive.is("media", "cdrom");
  source.read_only = drive.on("readonly") || drive.on("read-only") || source.is_cdrom;
  source.empty = source.path.empty();
  if (is_remote(source.path))
    source.refusal = "its bytes are in no local file or block device: the guest would lack this disk";
  if (source.path.starts_with("file:")) source.path.erase(0, 5);
  if (!source.format.empty() && source.format != "raw" && source.format != "qcow2" && source.format != "host_device")
    source.refusal =
        fmt::format("format '{}'; vmrun opens raw and qcow2: qemu-img convert -O qcow2 makes a copy", source.format);
  if (source.format == "host_device") source.format = "raw";
  return source;
}

ArgvSource source_of(ArgvWalk& walk, const std::string& id) {
  if (ArgvOption* drive = walk.find("drive", "id", id); drive != nullptr && !id.empty()) return source_of_drive(*drive);
  ArgvSource source;
  if (ArgvOption* node = walk.find("blockdev", "node-name", id); node != nullptr && !id.empty())
    follow(walk, *node, "", source, 0);
  else
    source.empty = true;
  if (is_remote(source.path)) source.refusal = "its bytes are in no local file or block device";
  return source;
}

namespace {

// "aio" of "file.aio"
std::string_view last_of(std::string_view key) {
  const std::size_t at = key.rfind("file.");
  return at == key.npos ? key : key.substr(at + 5);
}

}  // namespace

void write_host_side(ArgvWalk& walk, ArgvSource& source, const std::string& handle, bool write_cache) {
  SpecText& spec = walk.spec;
  bool direct = false, unsafe = false, discard = false;
  std::string zeroes, aio, named;
  for (ArgvOption* part : source.parts) {
    for (const auto& [key, value] : Members(part->members)) {
      const std::string_view last = last_of(key);
      if (last == "cache.direct") direct = direct || part->on(key);
      if (last == "cache.no-flush") unsafe = unsafe || part->on(key);
      if (last == "discard") discard = discard || value == "unmap" || value == "on";
      if (last == "detect-zeroes" && value != "off") zeroes = value;
      if (last == "aio") aio = value;
      if (last == "cache" && part->name == "drive") named = value;
    }
    limits_of(walk, *part, handle);
    if (part->on("snapshot") && !source.read_only) spec.flag(handle, "ephemeral", true);
    part->kept("snapshot", handle + ".ephemeral");
  }
  const char* mode = unsafe        ? "unsafe"
                     : direct      ? (write_cache ? "none" : "directsync")
                     : write_cache ? "writeback"
                                   : "writethrough";
  const bool known =
      named == "none" || named == "writeback" || named == "writethrough" || named == "directsync" || named == "unsafe";
  const std::string cache = known ? named : mode;
  spec.text(handle, "cache", cache, known || direct ? "" : "QEMU's default; \"none\" goes past the page cache");
  const bool native = aio != "native" || cache == "none" || cache == "directsync";
  if ((aio == "threads" || aio == "native" || aio == "io_uring") && native) spec.text(handle, "aio", aio);
  spec.flag(handle, "discard", discard);
  if (zeroes == "on" || zeroes == "unmap")
    spec.text(handle, "detect_zeroes", zeroes == "unmap" && !discard ? "on" : zeroes);
  for (ArgvOption* part : source.parts) {
    for (const auto& [key, value] : Members(part->members)) {
      const std::string_view last = last_of(key);
      for (const char* kept :
           {"driver", "filename", "cache.direct", "cache.no-flush", "cache",     "discard", "detect-zeroes",
            "aio",    "format",   "readonly",     "read-only",      "node-name", "file",    "auto-read-only",
            "if",     "id",       "media",        "index",          "unit",      "bus"})
        if (last == kept) part->kept(key, handle);
    }
    part->kept("file", handle + ".path");
    if (part->has("l2-cache-size") && source.format == "qcow2") {
      const auto bytes = part->number("l2-cache-size");
      const bool fits = bytes && *bytes >= 65536 && *bytes <= (std::uint64_t{4} << 30);
      if (fits) spec.set(handle, "l2_cache", toml_size(*bytes));
      part->kept_if(fits, "l2-cache-size", handle + ".l2_cache", "from 64K to 4G only");
    }
  }
}

}  // namespace launcher::import
