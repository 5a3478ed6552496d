// The image that a new VM's disk stands on. The rule: its format is that of its name; the first bytes may say qcow2 of an image that is
// named otherwise (Ubuntu's .img), but only where it leads to no other file.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace launcher::inline guest {

struct BaseImage {
  std::string path;    // absolute
  std::string format;  // "raw" | "qcow2"
  std::uint64_t bytes = 0;
};

// Errors: a sentence, with the way out.
std::expected<BaseImage, std::string> look_at_image(const std::string& path);

}  // namespace launcher::guest
