// What kind of disk image a file is, and what it stands on. The rule: what a guest can write never decides a format: that is
// stated, or said by the file's name or kind; bytes are only asked whether they agree, and no more than the first 64K of them.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline facts {

struct Image {
  std::string path;
  std::string format;  // "raw" | "qcow2"
  friend bool operator==(const Image&, const Image&) = default;
};

// A qcow2 image and what it stands on.
struct ImageInfo {
  std::vector<Image> chain;  // backing files, nearest first
  std::uint64_t bytes = 0;   // what a guest sees of it
};

struct Qcow2Header {
  std::string backing;         // as written in the image; "" if none
  std::string backing_format;  // "" when the image does not say
  std::uint64_t bytes = 0;     // the size the guest sees
  friend bool operator==(const Qcow2Header&, const Qcow2Header&) = default;
};

constexpr std::size_t image_head = 64 * 1024;  // of an image's bytes, so many are ever looked at

// By the name's end: "raw" (.raw, .img, .iso) | "qcow2" (.qcow2) | "": it says nothing.
std::string format_by_name(std::string_view path);

// Whose first bytes these are: "qcow2", "vmdk", "vhdx", "vpc", "qed", "vdi", "parallels"; "": of nothing known. (LUKS is no format of
// an image here: a guest may well encrypt its raw disk.)
std::string format_by_bytes(std::string_view head);

// From an image's first bytes, whatever they are (fuzzed). Errors: what QEMU would not take, an encrypted image or one with
// external data (QEMU's user could not open them), a header beyond 64K. QEMU: docs/interop/qcow2.txt.
std::expected<Qcow2Header, std::string> parse_qcow2(std::string_view head);

// The first bytes of a file or block device; "" where it is neither, or cannot be read.
std::string head_of(const std::string& path);

// What a qcow2 image says of itself. Errors: those of its header; a backing file without a stated format, or one that is missing,
// loops or is no plain file.
std::expected<ImageInfo, std::string> read_qcow2(const std::string& path);

}  // namespace launcher::facts
