// The open images: past the page cache where that was asked for, and by io_uring.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"

namespace launcher::inline proof {

namespace {

// flags of fdinfo are octal (kernel: Documentation/filesystems/proc.rst)
std::optional<unsigned> flags_of(const Subject& subject, const std::string& fd) {
  const auto text = field(subject, fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd), "flags");
  unsigned flags = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), flags, 8).ec != std::errc{}) return {};
  return flags;
}

// QEMU works with copies of the fd that it was given, under numbers of its own.
void prove_direct(const Subject& subject, const std::string& path, bool asked, Rows& rows) {
  const std::string what = path + ": past the page cache", wanted = asked ? "yes" : "no";
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  bool found = false;
  for (const auto& [fd, target] : subject.files) {
    if (target != path && (error || target != real)) continue;
    found = true;
    const auto flags = flags_of(subject, fd);
    rows.equal(what, wanted, flags ? std::optional<std::string>((*flags & O_DIRECT) != 0 ? "yes" : "no") : std::nullopt,
               fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd));
  }
  if (!found)
    rows.add(what, wanted, "not found among the open files", fmt::format("/proc/{}/fd", subject.qemu),
             Outcome::not_checked);
}

bool has_ring(const Subject& subject) {
  return std::ranges::any_of(subject.files,
                             [](const auto& file) { return file.second.find("io_uring") != std::string::npos; });
}

// Requests that the guest has made of its disks; nullopt: QEMU cannot be asked.
std::optional<std::uint64_t> requests_so_far(const Subject& subject) {
  const Answer answer = ask(subject, {"query-blockstats"});
  if (!answer.value || !answer.value->is_array()) return std::nullopt;
  std::uint64_t sum = 0;
  for (const boost::json::value& drive : answer.value->get_array())
    for (const char* kind : {"rd_operations", "wr_operations", "flush_operations"})
      if (const boost::json::value* stats = member(drive, "stats"))
        if (const boost::json::value* number = member(*stats, kind); number != nullptr && number->is_number())
          sum += number->to_number<std::uint64_t>();
  return sum;
}

// QEMU 10 makes a ring with the first request (7.2: when it opens the image).
void prove_ring(const Subject& subject, Rows& rows) {
  const std::string what = "requests by io_uring", where = fmt::format("/proc/{}/fd", subject.qemu);
  if (has_ring(subject)) return rows.judged(what, "a ring", "a ring", where, true);
  const auto asked = requests_so_far(subject);
  if (asked && *asked > 0) return rows.judged(what, "a ring", "none", where, false);
  rows.add(
      what, "a ring",
      asked ? "none: the guest has asked nothing of its disks (yet)" : "none, and no word of whether one was needed",
      asked ? "QMP query-blockstats" : where, Outcome::not_checked);
}

}  // namespace

std::vector<Row> prove_images(const Subject& subject) {
  Rows rows("devices");
  std::map<std::string, Keys> sets;
  for (const auto& added : arguments(subject, "-add-fd")) sets["/dev/fdset/" + key(added, "set")] = added;
  bool rings = false;
  for (const auto& node : arguments(subject, "-blockdev")) {
    rings = rings || key(node, "aio") == "io_uring";
    const auto set = sets.find(key(node, "filename"));
    if (set == sets.end() || key(node, "cache.direct").empty()) continue;
    prove_direct(subject, key(set->second, "opaque"), key(node, "cache.direct") == "on", rows);
  }
  if (rings) prove_ring(subject, rows);
  return rows.take();
}

}  // namespace launcher::proof
