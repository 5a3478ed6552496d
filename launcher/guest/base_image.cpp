#include "launcher/guest/base_image.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>
#include <string_view>

#include "launcher/facts/image.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline guest {

namespace {

// What is packed has to be unpacked first; "": it is not.
std::string packed_with(std::string_view head) {
  if (head.starts_with("\xfd"
                       "7zXZ"))
    return "unxz";
  if (head.starts_with("\x1f\x8b")) return "gunzip";
  if (head.starts_with("\x28\xb5\x2f\xfd")) return "unzstd";
  if (head.starts_with("BZh")) return "bunzip2";
  return "";
}

// ISO 9660's volume descriptor. An installer's CD may have a boot sector, too, so as to start from a USB stick.
bool is_cd(std::string_view head) {
  constexpr std::size_t at = 0x8001;
  static_assert(at < image_head);
  return head.size() > at && head.substr(at).starts_with("CD001");
}

std::expected<BaseImage, std::string> as_qcow2(BaseImage image, std::string_view head) {
  const auto header = parse_qcow2(head);
  if (!header) return std::unexpected(fmt::format("'{}': {}", printable(image.path), header.error()));
  if (!header->backing.empty() && format_by_name(image.path) != "qcow2")
    return std::unexpected(
        fmt::format("'{}' begins as a qcow2 image that stands on another file, and is not named .qcow2: a guest may "
                    "have written that; "
                    "rename it if it is yours",
                    printable(image.path)));
  image.format = "qcow2";
  image.bytes = header->bytes;
  return image;
}

}  // namespace

std::expected<BaseImage, std::string> look_at_image(const std::string& path) {
  BaseImage image{.path = std::filesystem::absolute(path).lexically_normal(), .format = "raw"};
  if (const std::string why = misfit(image.path, {S_IFREG}); !why.empty()) return std::unexpected(why);
  const std::string head = head_of(image.path), kind = format_by_bytes(head), named = format_by_name(image.path);
  if (const std::string tool = packed_with(head); !tool.empty())
    return std::unexpected(
        fmt::format("'{}' is packed; unpack it first: {} {}", printable(path), tool, printable(path)));
  if (kind == "qcow2") return as_qcow2(std::move(image), head);
  if (!kind.empty() || named == "qcow2")
    return std::unexpected(fmt::format(
        "'{}' is {}; wanted a raw or qcow2 image: qemu-img convert -O qcow2 FILE {}.qcow2", printable(path),
        kind.empty() ? "no qcow2 image, whatever its name says" : kind, std::filesystem::path(path).stem().string()));
  if (is_cd(head))
    return std::unexpected(
        fmt::format("'{0}' is a CD; wanted a disk: --iso {0} makes a VM with an empty one", printable(path)));
  std::error_code none;
  image.bytes = std::filesystem::file_size(image.path, none);
  return image;
}

}  // namespace launcher::guest
