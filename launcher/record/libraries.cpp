#include "launcher/record/libraries.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "launcher/host/filter.hpp"
#include "launcher/host/process.hpp"
#include "launcher/record/elf.hpp"
#include "launcher/record/identity.hpp"

namespace launcher::inline record {

namespace {

namespace fs = std::filesystem;

std::string real(const std::string& path) {
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  return error ? "" : whole.string();
}

// A loader's line: "\tlibc.so.6 => /lib/libc.so.6 (0x7f...)", "\t/lib64/ld-linux-x86-64.so.2 (0x7f...)"; nullopt: of no file
// ("\tlinux-vdso.so.1 (0x7f...)").
std::optional<std::pair<std::string, std::string>> library_in(std::string_view line) {
  constexpr std::string_view arrow = " => ";
  if (!line.starts_with('\t')) return std::nullopt;
  const std::string_view told = line.substr(1, line.rfind(" (0x") - 1);
  const std::size_t at = told.find(arrow);
  const std::string path(at == told.npos ? told : told.substr(at + arrow.size()));
  if (!path.starts_with('/')) return std::nullopt;
  return std::pair(at == told.npos ? fs::path(path).filename().string() : std::string(told.substr(0, at)), real(path));
}

}  // namespace

std::map<std::string, std::string> libraries_of(const std::string& program) {
  std::map<std::string, std::string> found;
  const std::string itself = real(program);
  const auto elf = read_elf(itself);
  if (!elf || elf->interpreter.empty()) return found;
  found[fs::path(elf->interpreter).filename().string()] = real(elf->interpreter);
  ChildSpec loader;
  loader.argv = {elf->interpreter, "--list", itself};
  try {
    std::istringstream lines(run_quietly(loader).out);
    for (std::string line; std::getline(lines, line);)
      if (auto library = library_in(line)) found.insert(std::move(*library));
  } catch (const std::exception&) {
    // no such loader: the program cannot be run either
  }
  return found;
}

Values library_facts(const std::string& program) {
  Values facts;
  for (const auto& [name, path] : libraries_of(program)) {
    const auto identity = identity_of_program(path);
    facts[name] = identity ? fmt::format("{} {}", fs::path(path).filename().string(), identity->digest) : "not found";
  }
  return facts;
}

}  // namespace launcher::record
