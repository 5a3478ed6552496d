// Text at a path that a person named: read once, and never waited for without end, whatever stands there.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <expected>
#include <filesystem>
#include <string>

namespace topology {

std::string file_kind(mode_t mode);  // "a directory", "a FIFO"

// The first `most` bytes of an open file. Errors are for a person; of a pipe into which nobody writes, after ten seconds.
std::expected<std::string, std::string> read_open_file(int fd, std::size_t most);

// Of a file, a pipe or a terminal, at most 64 MiB; of what else stands there, why not.
std::expected<std::string, std::string> read_text_file(const std::filesystem::path& file,
                                                       std::size_t most = std::size_t{64} << 20);

}  // namespace topology
