// What a 64-bit ELF file says of itself, without its being run: its build id and its loader. The rule: a number in the file is believed
// only as far as the file reaches.
#pragma once

#include <optional>
#include <string>

namespace launcher::inline record {

struct Elf {
  std::string build_id;     // NT_GNU_BUILD_ID, hexadecimal; "": none
  std::string interpreter;  // "/lib64/ld-linux-x86-64.so.2"; "": it is run without one
  friend bool operator==(const Elf&, const Elf&) = default;
};

// nullopt: it is no such file, or cannot be read. Never waits (a FIFO), never becomes a terminal's.
std::optional<Elf> read_elf(const std::string& path);

}  // namespace launcher::record
