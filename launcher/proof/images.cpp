// The open images: past the page cache where that was asked for, and by io_uring.
#include <fcntl.h>
#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"

namespace launcher::inline proof {

namespace {

// flags of fdinfo are octal (kernel: Documentation/filesystems/proc.rst)
std::optional<unsigned> flags_of(const Subject& subject, const std::string& fd) {
  const auto text = field(subject, fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd), "flags");
  unsigned flags = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), flags, 8).ec != std::errc{}) return {};
  return flags;
}

std::vector<std::string> fds_of(const Subject& subject) {
  return subject.root.list(fmt::format("/proc/{}/fd", subject.qemu));
}

// QEMU works with copies of the fd that it was given, under numbers of its own.
void prove_direct(const Subject& subject, const std::string& path, bool asked, Rows& rows) {
  const std::string what = path + ": past the page cache", wanted = asked ? "yes" : "no";
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  bool found = false;
  for (const std::string& fd : fds_of(subject)) {
    const std::string target = target_of(subject, fd);
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
  for (const std::string& fd : fds_of(subject))
    if (target_of(subject, fd).find("io_uring") != std::string::npos) return true;
  return false;
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
  if (!rings) return rows.take();
  const bool there = has_ring(subject);
  rows.judged("requests by io_uring", "a ring", there ? "a ring" : "none", fmt::format("/proc/{}/fd", subject.qemu),
              there);
  return rows.take();
}

}  // namespace launcher::proof
