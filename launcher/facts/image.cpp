#include "launcher/facts/image.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

namespace launcher::inline facts {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_chain = 16;

std::uint64_t big_endian(std::string_view header, std::size_t offset, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(header[offset + i]);
  return value;
}

struct Header {
  std::string format;
  std::string backing;         // as written in the image; "" if none
  std::string backing_format;  // "" when the image does not say
  std::uint64_t bytes = 0;     // the size the guest sees; 0: that of the file
};

std::string read_at(std::ifstream& file, std::uint64_t offset, std::size_t size) {
  std::string text(size, '\0');
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

// Header extensions begin behind the header and end before the first cluster: type, length, data padded to 8.
std::string backing_format_of(std::ifstream& file, std::string_view header, std::uint64_t header_length) {
  constexpr std::uint64_t backing_format_extension = 0xe2792aca;
  const std::uint64_t cluster = std::uint64_t{1} << (big_endian(header, 20, 4) & 31);
  for (std::uint64_t at = header_length; at + 8 <= cluster;) {
    const std::string extension = read_at(file, at, 8);
    if (extension.size() < 8) return {};
    const std::uint64_t type = big_endian(extension, 0, 4);
    const std::uint64_t length = big_endian(extension, 4, 4);
    if (type == 0) return {};
    if (type == backing_format_extension) return read_at(file, at + 8, std::min<std::uint64_t>(length, 64));
    at += 8 + (length + 7) / 8 * 8;
  }
  return {};
}

std::expected<Header, std::string> read_qcow2(std::ifstream& file, std::string_view header) {
  constexpr std::uint64_t external_data = 1u << 2;
  const std::uint64_t version = big_endian(header, 4, 4);
  if (version != 2 && version != 3)
    return std::unexpected(fmt::format("qcow2 version {} is unknown; wanted 2 or 3", version));
  if (big_endian(header, 32, 4) != 0) return std::unexpected("the image is encrypted, which vmrun does not handle");
  if (version == 3 && (big_endian(header, 72, 8) & external_data) != 0)
    return std::unexpected("the image keeps its data in another file, which vmrun does not handle");
  Header result{.format = "qcow2", .backing = {}, .backing_format = {}, .bytes = big_endian(header, 24, 8)};
  const std::uint64_t offset = big_endian(header, 8, 8);
  const std::uint64_t length = big_endian(header, 16, 4);
  if (offset == 0) return result;
  if (length > 1023) return std::unexpected("the name of its backing file is longer than 1023 bytes");
  result.backing = read_at(file, offset, length);
  result.backing_format = backing_format_of(file, header, version == 3 ? big_endian(header, 100, 4) : 72);
  return result;
}

std::expected<Header, std::string> read_header(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::unexpected(fmt::format("'{}' cannot be read", path));
  const std::string header = read_at(file, 0, 104);
  if (header.size() == 104 && header.starts_with("QFI\xfb")) return read_qcow2(file, header);
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> others = {
      {{"KDMV", "vmdk"}, {"vhdxfile", "vhdx"}, {"QED\0", "qed"}, {"<<< ", "vdi"}}};
  for (const auto& [magic, name] : others) {
    if (header.starts_with(magic))
      return std::unexpected(fmt::format("a {} image; convert it with `qemu-img convert -O raw {} NEW`", name, path));
  }
  return Header{.format = "raw", .backing = {}, .backing_format = {}, .bytes = 0};
}

}  // namespace

std::expected<ImageInfo, std::string> read_image(const std::string& path) {
  auto header = read_header(path);
  if (!header) return std::unexpected(header.error());
  ImageInfo info{.format = header->format, .chain = {}, .bytes = header->bytes};
  std::string here = path;
  while (!header->backing.empty()) {
    std::string name = header->backing;
    if (name.starts_with("file:")) name.erase(0, 5);
    const std::string next = fs::path(here).parent_path() / name;  // an absolute name replaces it
    std::error_code unreachable;                                   // a name too long, a folder that may not be entered
    if (!fs::is_regular_file(next, unreachable))
      return std::unexpected(fmt::format("'{}' stands on '{}', which is not there", here, next));
    if (info.chain.size() == longest_chain)
      return std::unexpected("its chain of backing files is longer than 16, or loops");
    const std::string said = header->backing_format;
    header = read_header(next);
    if (!header) return std::unexpected(header.error());
    if (said == "raw")
      header =
          Header{.format = "raw", .backing = {}, .backing_format = {}, .bytes = 0};  // the image's word, not the magic
    info.chain.push_back({next, header->format});
    here = next;
  }
  return info;
}

}  // namespace launcher::inline facts
