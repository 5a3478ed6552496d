// UTF-8 as it looks on a terminal. The rule: nothing a user or a guest wrote reaches the terminal as a control.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace launcher::inline text {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 1;
  bool valid = true;  // false: one byte that is no UTF-8
};
CodePoint decode_utf8(std::string_view text);  // the first one; precondition: not empty

bool is_control(char32_t value);  // could move the cursor, change the terminal's state or reorder the line
std::size_t count_code_points(std::string_view text);  // a broken byte counts as one
std::size_t first_broken_utf8(std::string_view text);  // npos if there is none
std::string printable(std::string_view text);
std::string printable(CodePoint point, std::string_view bytes);
unsigned display_width(CodePoint point);  // of what printable() makes of it: 0, 1, 2, or an escape's length

}  // namespace launcher::text
