// What kind of disk image a file is, by its own header, and what it stands on. The rule: read-only, and nothing is run.
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

struct ImageInfo {
  std::string format;        // "raw" | "qcow2"
  std::vector<Image> chain;  // backing files, nearest first
  std::uint64_t bytes = 0;   // what a guest sees of a qcow2 image; 0: the file's own size says
};

// qcow2's header: QEMU docs/interop/qcow2.txt. Errors: a backing file that is missing or loops, an encrypted image or one
// with external data (QEMU's user could not open them), another format vmrun does not run (vmdk, vdi, vhdx, qed).
std::expected<ImageInfo, std::string> read_image(const std::string& path);

}  // namespace launcher::inline facts
