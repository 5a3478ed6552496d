// See image.hpp. `qemu-img info --backing-chain` is not asked: it opens paths by itself (as QEMU's user it could not open what only
// root may, and it takes no open file), and it guesses the formats that an image does not state.
#include "launcher/facts/image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include "launcher/host/fd.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline facts {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_chain = 16, longest_name = 1023, longest_format = 64;

std::uint64_t big_endian(std::string_view bytes, std::size_t offset, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return value;
}

// `size` bytes from `offset` on, which come from the image; nullopt: not all of them are there.
std::optional<std::string_view> part(std::string_view head, std::uint64_t offset, std::uint64_t size) {
  if (offset > head.size() || size > head.size() - offset) return std::nullopt;
  return head.substr(offset, size);
}

// Header extensions begin behind the header: type, length, data padded to 8.
std::expected<std::string, std::string> backing_format_of(std::string_view head, std::uint64_t at) {
  constexpr std::uint64_t backing_format_extension = 0xe2792aca;
  while (const auto extension = part(head, at, 8)) {
    const std::uint64_t type = big_endian(*extension, 0, 4), length = big_endian(*extension, 4, 4);
    if (type == 0) return {};
    const auto data = part(head, at + 8, length);
    if (!data) break;
    if (type == backing_format_extension) return std::string(data->substr(0, longest_format));
    at += 8 + (length + 7) / 8 * 8;
  }
  return std::unexpected("its header goes on beyond 64K or its end; wanted one as qemu-img writes it");
}

struct Head {
  std::string text;
  bool there = false, plain = false;  // plain: a regular file
  int error = 0;                      // why it is not there
};

// O_NONBLOCK: whatever lies there (a FIFO has no writer), nothing waits for it.
Head read_head(const std::string& path) {
  Head head;
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    head.error = errno;
    return head;
  }
  struct stat info {};
  head.there = fstat(fd.get(), &info) == 0;
  head.plain = S_ISREG(info.st_mode);
  if (head.plain || S_ISBLK(info.st_mode)) {
    head.text.resize(image_head);
    const ssize_t got = pread(fd.get(), head.text.data(), head.text.size(), 0);
    head.text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  return head;
}

// Where the image that names it says that it is: absolute, or beside that image.
std::string path_of(const std::string& image, std::string name) {
  if (name.starts_with("file:")) name.erase(0, 5);
  return fs::path(image).parent_path() / name;  // an absolute name replaces it
}

std::expected<Image, std::string> backing_of(const std::string& image, const Qcow2Header& header) {
  const std::string path = path_of(image, header.backing);
  const Head head = read_head(path);
  if (!head.plain)
    return std::unexpected(fmt::format("'{}' stands on '{}', which {}", printable(image), printable(path),
                                       head.there             ? "is no plain file"
                                       : head.error == ENOENT ? "is not there"
                                                              : "cannot be read"));
  if (header.backing_format.empty())
    return std::unexpected(
        fmt::format("'{}' does not say which format '{}' has, on which it stands; wanted it stated there, as whoever "
                    "writes that file could "
                    "choose it",
                    printable(image), printable(path)));
  if (header.backing_format != "raw" && header.backing_format != "qcow2")
    return std::unexpected(fmt::format("'{}' stands on '{}' as a {} image; wanted raw or qcow2", printable(image),
                                       printable(path), printable(header.backing_format)));
  return Image{path, header.backing_format};
}

}  // namespace

std::string format_by_name(std::string_view path) {
  if (path.ends_with(".qcow2")) return "qcow2";
  return path.ends_with(".raw") || path.ends_with(".img") || path.ends_with(".iso") ? "raw" : "";
}

std::string format_by_bytes(std::string_view head) {
  static constexpr std::array<std::pair<std::string_view, const char*>, 10> known = {
      {{"QFI\xfb", "qcow2"},
       {"KDMV", "vmdk"},
       {"COWD", "vmdk"},
       {"# Disk DescriptorFile", "vmdk"},
       {"vhdxfile", "vhdx"},
       {"conectix", "vpc"},
       {{"QED\0", 4}, "qed"},
       {"<<< ", "vdi"},
       {"WithoutFreeSpace", "parallels"},
       {"WithouFreSpacExt", "parallels"}}};
  for (const auto& [magic, name] : known)
    if (head.starts_with(magic)) return name;
  return {};
}

std::expected<Qcow2Header, std::string> parse_qcow2(std::string_view head) {
  constexpr std::size_t header_of_version_2 = 72, least_header_of_version_3 = 104;
  constexpr std::uint64_t external_data = 1u << 2;
  constexpr unsigned least_cluster_bits = 9, most_cluster_bits = 21;  // what QEMU takes
  if (head.size() < least_header_of_version_3 || format_by_bytes(head) != "qcow2")
    return std::unexpected("it is no qcow2 image");
  const std::uint64_t version = big_endian(head, 4, 4), cluster_bits = big_endian(head, 20, 4);
  if (version != 2 && version != 3)
    return std::unexpected(fmt::format("qcow2 version {} is unknown; wanted 2 or 3", version));
  if (cluster_bits < least_cluster_bits || cluster_bits > most_cluster_bits)
    return std::unexpected(fmt::format("its clusters have 2^{} bytes; wanted 2^9 to 2^21", cluster_bits));
  if (big_endian(head, 32, 4) != 0) return std::unexpected("the image is encrypted, which vmrun does not handle");
  if (version == 3 && (big_endian(head, 72, 8) & external_data) != 0)
    return std::unexpected("the image keeps its data in another file, which vmrun does not handle");
  Qcow2Header result{.backing = {}, .backing_format = {}, .bytes = big_endian(head, 24, 8)};
  const std::uint64_t offset = big_endian(head, 8, 8), length = big_endian(head, 16, 4);
  if (offset == 0) return result;
  if (length > longest_name) return std::unexpected("the name of its backing file is longer than 1023 bytes");
  const auto name = part(head.substr(0, std::min(head.size(), std::size_t{1} << cluster_bits)), offset, length);
  if (!name || name->empty() || name->find('\0') != name->npos)
    return std::unexpected("the name of its backing file does not stand where its header says");
  result.backing = *name;
  auto format = backing_format_of(head, version == 3 ? big_endian(head, 100, 4) : header_of_version_2);
  if (!format) return std::unexpected(format.error());
  result.backing_format = std::move(*format);
  return result;
}

std::string head_of(const std::string& path) { return read_head(path).text; }

std::expected<ImageInfo, std::string> read_qcow2(const std::string& path) {
  auto header = parse_qcow2(head_of(path));
  if (!header) return std::unexpected(header.error());
  ImageInfo info{.chain = {}, .bytes = header->bytes};
  std::string here = path;
  while (!header->backing.empty()) {
    if (info.chain.size() == longest_chain)
      return std::unexpected("its chain of backing files is longer than 16, or loops");
    auto next = backing_of(here, *header);
    if (!next) return std::unexpected(next.error());
    here = next->path;
    info.chain.push_back(std::move(*next));
    if (info.chain.back().format == "raw") break;  // the image's word, whatever its bytes are
    header = parse_qcow2(head_of(here));
    if (!header)
      return std::unexpected(fmt::format("it stands on '{}' as a qcow2 image: {}", printable(here), header.error()));
  }
  return info;
}

}  // namespace launcher::facts
