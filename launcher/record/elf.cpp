#include "launcher/record/elf.hpp"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "launcher/host/fd.hpp"

namespace launcher::inline record {

namespace {

constexpr std::uint64_t most_notes = 64 * 1024, most_text = 4096;

// Of that many bytes at that place as many as there are.
std::string bytes_at(int fd, std::uint64_t offset, std::uint64_t size) {
  std::string bytes(size, '\0');
  const ssize_t got = pread(fd, bytes.data(), size, static_cast<off_t>(offset));
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

std::string text_at(int fd, std::uint64_t offset) {
  const std::string bytes = bytes_at(fd, offset, most_text);
  const std::size_t end = bytes.find('\0');
  return end == bytes.npos ? "" : bytes.substr(0, end);
}

std::string build_id_in(std::string_view notes) {
  const auto padded = [](std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; };
  for (std::uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr note{};
    std::memcpy(&note, notes.data() + at, sizeof note);
    const std::uint64_t name = at + sizeof note, text = name + padded(note.n_namesz);
    if (text + note.n_descsz > notes.size()) break;
    if (note.n_type == NT_GNU_BUILD_ID && notes.substr(name, note.n_namesz) == std::string_view("GNU\0", 4)) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(notes.data() + text);
      return fmt::format("{:02x}", fmt::join(bytes, bytes + note.n_descsz, ""));
    }
    at = text + padded(note.n_descsz);
  }
  return "";
}

std::vector<Elf64_Phdr> parts_in(std::string_view bytes) {
  std::vector<Elf64_Phdr> parts(bytes.size() / sizeof(Elf64_Phdr));
  bytes.copy(reinterpret_cast<char*>(parts.data()), parts.size() * sizeof(Elf64_Phdr));
  return parts;
}

}  // namespace

std::optional<Elf> read_elf(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  const int fd = file.get();
  Elf64_Ehdr head{};
  if (pread(fd, &head, sizeof head, 0) != sizeof head || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_phentsize != sizeof(Elf64_Phdr))
    return std::nullopt;
  const auto parts = parts_in(bytes_at(fd, head.e_phoff, head.e_phnum * sizeof(Elf64_Phdr)));
  Elf elf;
  for (const Elf64_Phdr& part : parts) {
    if (part.p_type == PT_NOTE && elf.build_id.empty() && part.p_filesz <= most_notes)
      elf.build_id = build_id_in(bytes_at(fd, part.p_offset, part.p_filesz));
    if (part.p_type == PT_INTERP) elf.interpreter = text_at(fd, part.p_offset);
  }
  return elf;
}

}  // namespace launcher::record
