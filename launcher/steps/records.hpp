// Files of a VM's directory: JSON objects with a format version, replaced as a whole. The rule: what cannot be read is told from what is
// not there.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstddef>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace launcher::inline steps::records {

std::optional<std::string> slurp(const std::filesystem::path& path);  // nullopt: it cannot be opened

void replace(const std::filesystem::path& path, std::string_view text);           // atomically; throws
void write(const std::filesystem::path& path, const boost::json::value& record);  // the same, with our version added

constexpr std::size_t longest = std::size_t{64} << 20;  // a plan of 4096 vCPUs is about 2 MiB

// nullptr's value: the file is not there. Error: it is there, and is no object of a version that is known, or longer than `most`.
std::expected<boost::json::value, std::string> read(const std::filesystem::path& path, std::size_t most = longest);

}  // namespace launcher::steps::records
