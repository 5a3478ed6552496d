// Words in the texts of small kernel files. The rule: a text is looked at and nothing else; files are read by sysfs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace topology {

// Of a file that lists its choices, the one in brackets: "always [madvise] never" -> "madvise". A text without brackets is it.
std::string chosen_word(std::string_view text);
// "cpuset cpu io" has "cpu".
bool has_word(std::string_view text, std::string_view word);
// Of "123", all of it; nullopt: it is no number.
std::optional<std::uint64_t> number_of(std::string_view text);
// KiB of a line of either meminfo, "Node 0 MemFree:   123 kB" or "MemFree:   123 kB"; 0 where it has no such line.
std::uint64_t meminfo_kib(std::string_view text, std::string_view key);

}  // namespace topology
