// What a 64-bit ELF file says of itself, without its being run: its build id, its loader, and which libraries it asks for. The rule: a
// number in the file is believed only as far as the file reaches.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace launcher::inline record {

struct Elf {
  std::string build_id;             // NT_GNU_BUILD_ID, hexadecimal; "": none
  std::string interpreter;          // "/lib64/ld-linux-x86-64.so.2"; "": it is run without one
  std::string name;                 // DT_SONAME
  std::vector<std::string> needed;  // DT_NEEDED, in order
  std::string rpath, runpath;       // directories with ':' between, as they stand there ("$ORIGIN/../lib")
  friend bool operator==(const Elf&, const Elf&) = default;
};

// nullopt: it is no such file.
std::optional<Elf> read_elf(int fd);
std::optional<Elf> read_elf_at(const std::string& path);

}  // namespace launcher::record
