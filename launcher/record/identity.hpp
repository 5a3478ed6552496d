// Which bytes a file holds. The rule: in constant time where the kernel vouches for them (fs-verity); else they are read once, and what
// was found is believed as long as device, inode, size and both times stand still.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>

namespace launcher::inline record {

struct Identity {
  std::string algorithm;   // "fsverity-sha256", "xxh3_128"; "gnu-build-id" of a program; "size" of a block device
  std::string digest;      // hexadecimal; of a block device its size, for its bytes are not looked at
  bool cached = false;     // it was known already
  std::uint64_t read = 0;  // bytes that had to be read for it
  friend bool operator==(const Identity&, const Identity&) = default;
};

// done and whole: bytes
using IdentityProgress = std::function<void(const std::string& path, std::uint64_t done, std::uint64_t whole)>;

// Error: why it cannot be told, for a person.
std::expected<Identity, std::string> identity_of_file(const std::string& path, const IdentityProgress& progress = {});

// The linker's build id of an ELF program; without one its bytes are what it is.
std::expected<Identity, std::string> identity_of_program(const std::string& path);

}  // namespace launcher::record
