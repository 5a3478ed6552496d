// UEFI firmware of this host, found by the descriptors that its package installs (QEMU's docs/interop/firmware.json).
// The rule: files of the same name in a later directory replace those of an earlier one; the first that fits by name wins.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <vector>

namespace launcher::inline facts {

struct Firmware {
  std::string code;           // the program, read only
  std::string vars_template;  // of its variables, of which each VM has its own copy
  bool smm = false;           // it guards its variables by the system management mode
  friend bool operator==(const Firmware&, const Firmware&) = default;
};

std::vector<std::filesystem::path> firmware_directories();

// For q35 on x86-64. secure: with Secure Boot, keys enrolled. Error: what is missing, for a person.
std::expected<Firmware, std::string> find_firmware(const std::vector<std::filesystem::path>& directories, bool secure);

Firmware assumed_firmware(bool secure);  // Debian's

}  // namespace launcher::facts
