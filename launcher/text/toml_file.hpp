// Reading the files of a document. The rule: a file is opened once and judged by its descriptor; root reads for somebody else
// only what that one may read, so that a user's spec shows no more of this machine than its owner could see.
#pragma once

#include <sys/types.h>

#include <expected>
#include <filesystem>
#include <optional>
#include <string>

namespace launcher::inline text {

struct TomlFile {
  std::string text;             // at most one byte more than parse_toml() takes
  std::optional<uid_t> reader;  // for whom its includes are read: its owner, where we are root and that is another one
};

std::expected<TomlFile, std::string> read_main_file(const std::filesystem::path& file);

// Of an include. reader: for whom; nothing: for ourselves. Errors also say when it may be read by us but not by the reader.
std::expected<std::filesystem::path, std::string> canonical_for(const std::filesystem::path& file,
                                                                std::optional<uid_t> reader);
std::expected<TomlFile, std::string> read_included_file(const std::filesystem::path& file, std::optional<uid_t> reader);

}  // namespace launcher::text
