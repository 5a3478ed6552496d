// The open images: past the page cache where that was asked for, and by io_uring.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/rings.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"

namespace launcher::inline proof {

namespace {

// flags of fdinfo are octal (kernel: Documentation/filesystems/proc.rst)
std::optional<unsigned> flags_of(const Subject& subject, int fd) {
  const auto text = field(subject, fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd), "flags");
  unsigned flags = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), flags, 8).ec != std::errc{}) return {};
  return flags;
}

// QEMU works with copies of the fd that it was given, under numbers of its own: those that are open on an image.
std::set<int> numbers_of(const Subject& subject, const std::string& path) {
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  std::set<int> numbers;
  for (const auto& [fd, target] : subject.files)
    if (target == path || (!error && target == real)) numbers.insert(std::atoi(fd.c_str()));
  return numbers;
}

void prove_direct(const Subject& subject, const std::string& path, bool asked, Rows& rows) {
  const std::string what = path + ": past the page cache", wanted = asked ? "yes" : "no";
  const std::set<int> numbers = numbers_of(subject, path);
  for (const int fd : numbers) {
    const auto flags = flags_of(subject, fd);
    rows.equal(what, wanted, flags ? std::optional<std::string>((*flags & O_DIRECT) != 0 ? "yes" : "no") : std::nullopt,
               fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd));
  }
  if (numbers.empty())
    rows.add(what, wanted, "not found among the open files", fmt::format("/proc/{}/fd", subject.qemu),
             Outcome::not_checked);
}

struct Image {
  std::string node, path, direct, aio;  // as -blockdev has them
};

std::vector<Image> images_of(const Subject& subject) {
  std::map<std::string, Keys> sets;
  for (const auto& added : arguments(subject, "-add-fd")) sets["/dev/fdset/" + key(added, "set")] = added;
  std::vector<Image> images;
  for (const auto& node : arguments(subject, "-blockdev"))
    if (const auto set = sets.find(key(node, "filename")); set != sets.end())
      images.push_back(
          {key(node, "node-name"), key(set->second, "opaque"), key(node, "cache.direct"), key(node, "aio")});
  return images;
}

std::vector<Image> by_ring(std::vector<Image> images) {
  std::erase_if(images, [](const Image& image) { return image.aio != "io_uring"; });
  return images;
}

// What guests have read of the disk that lies on this node with nothing between; nullopt: there is none, or QEMU could not be asked.
// (Writes and flushes are no measure: zeroes are a hole punched, and a flush may be left out.)
std::optional<std::uint64_t> reads_of(const std::string& node, const Answer& drives) {
  if (!drives.value || !drives.value->is_array()) return std::nullopt;
  for (const boost::json::value& drive : drives.value->get_array())
    if (const auto* stats = member(drive, "stats"); stats != nullptr && text_of(member(drive, "node-name")) == node)
      if (const auto* number = member(*stats, "rd_operations"); number != nullptr && number->is_number())
        return number->to_number<std::uint64_t>();
  return std::nullopt;
}

bool is_seen(const Subject& subject, const Requests& seen, const Image& image) {
  return std::ranges::any_of(numbers_of(subject, image.path), [&](int fd) { return seen.files.contains(fd); });
}
bool all_are_seen(const Subject& subject, const Requests& seen, const std::vector<Image>& images) {
  return std::ranges::all_of(images, [&](const Image& image) { return is_seen(subject, seen, image); });
}

::qmp::Command of_drives() { return {"query-blockstats"}; }

// QEMU 10.0 makes a ring with the first request (7.2: when it opens the image).
void prove_rings(const Subject& subject, const std::vector<Image>& images, Rows& rows) {
  if (images.empty()) return;
  Requests seen = requests_in_rings(subject, subject.files);
  Answer drives;
  if (!all_are_seen(subject, seen, images)) {
    drives = ask(subject, of_drives());
    seen = requests_in_rings(subject, open_files(subject));  // anew: what is counted had its ring and entry by then
  }
  const std::string where = fmt::format("/proc/{}/fd/{} (entries)", subject.qemu, fmt::join(seen.rings, ","));
  for (const Image& image : images) {
    const std::string what = image.path + ": requests by io_uring", wanted = "yes";
    const auto reads = reads_of(image.node, drives);
    const auto not_checked = [&](const std::string& why) { rows.add(what, wanted, why, where, Outcome::not_checked); };
    if (is_seen(subject, seen, image))
      rows.judged(what, wanted, "yes", where, true);
    else if (!seen.unread.empty())
      not_checked("a ring cannot be looked into: " + seen.unread);
    else if (!reads)
      not_checked("none is seen, and no word of whether one was needed");
    else if (*reads == 0)
      not_checked("none: the guest has read nothing of it (yet)");
    else if (!seen.whole)
      not_checked("none among the last of each ring");
    else
      rows.judged(what, wanted, fmt::format("none, of {} reads", *reads), where, false);
  }
}

}  // namespace

// A ring is looked into without QEMU; it is asked where that shows no request.
std::vector<::qmp::Command> questions_of_images(const Subject& subject) {
  const std::vector<Image> images = by_ring(images_of(subject));
  if (images.empty() || all_are_seen(subject, requests_in_rings(subject, subject.files), images)) return {};
  return {of_drives()};
}

std::vector<Row> prove_images(const Subject& subject) {
  Rows rows("devices");
  const std::vector<Image> images = images_of(subject);
  for (const Image& image : images)
    if (!image.direct.empty()) prove_direct(subject, image.path, image.direct == "on", rows);
  prove_rings(subject, by_ring(images), rows);
  return rows.take();
}

}  // namespace launcher::proof
