// Numbers out of the kernel's text files. The rule: fast enough for thousands of files a second, and a file that ends early gives nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline watch {

std::vector<std::uint64_t> numbers_in(
    std::string_view text);  // the words of it that are numbers, in order, to the first that is none
// What follows KEY at the start of a line, past blanks and ':' and up to the line's end; "": no such line.
std::string_view text_after(std::string_view text, std::string_view key);
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key);

}  // namespace launcher::watch
