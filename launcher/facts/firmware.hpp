// UEFI firmware of this host, found by the descriptors that its package installs (QEMU's docs/interop/firmware.json).
// The rule: files of the same name in a later directory replace those of an earlier one; the first that fits by name wins.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <vector>

namespace launcher::inline facts {

struct Firmware {
  std::string code;                                      // the program, read only
  std::string vars_template;                             // of its variables, of which each VM has its own copy
  std::string code_format = "raw", vars_format = "raw";  // or "qcow2"
  bool smm = false;                                      // it guards its variables by the system management mode
  friend bool operator==(const Firmware&, const Firmware&) = default;
};

// Later ones before earlier ones: of all QEMUs, of this one's prefix, of the host's administrator, of the user.
std::vector<std::filesystem::path> firmware_directories(const std::string& qemu);

// For q35 on x86-64. secure: with Secure Boot, keys enrolled. Error: what is missing, for a person.
std::expected<Firmware, std::string> find_firmware(const std::vector<std::filesystem::path>& directories, bool secure);

// Images by hand, each in the format of its name. smm: the program guards its variables.
Firmware firmware_of(const std::string& code, const std::string& variables, bool smm);

Firmware assumed_firmware(bool secure);  // Debian's

}  // namespace launcher::facts
