// See printable.hpp.
#include "launcher/text/printable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace launcher::inline text {

namespace {

struct Range {
  char32_t first, last;
};

bool is_in(char32_t value, const Range* begin, const Range* end) {
  return std::any_of(begin, end, [value](Range range) { return range.first <= value && value <= range.last; });
}

// Unicode 15: the common blocks of combining and of East Asian wide characters; a rare one shifts a caret by a column.
bool is_combining(char32_t value) {
  constexpr Range combining[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                 {0x64b, 0x65f},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200d},
                                 {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}};
  return is_in(value, std::begin(combining), std::end(combining));
}

bool is_wide(char32_t value) {
  constexpr Range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xac00, 0xd7a3},
                            {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
                            {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
  return is_in(value, std::begin(wide), std::end(wide));
}

}  // namespace

// C0, DEL, C1, line and bidi controls.
bool is_control(char32_t value) {
  constexpr Range controls[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
                                {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}};
  return is_in(value, std::begin(controls), std::end(controls));
}

CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  const CodePoint broken = {lead, 1, false};
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return broken;
  char32_t value = lead & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return broken;
    value = value << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (overlong || surrogate || value > 0x10ffff) return broken;
  return {value, length, true};
}

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(decode_utf8(text).bytes);
  return count;
}

std::size_t first_broken_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_utf8(text.substr(at));
    if (!point.valid) return at;
    at += point.bytes;
  }
  return std::string_view::npos;
}

std::string printable(CodePoint point, std::string_view bytes) {
  if (!point.valid) return fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
  if (!is_control(point.value)) return std::string(bytes.substr(0, point.bytes));
  if (point.value == '\n') return "\\n";
  if (point.value == '\t') return "\\t";
  if (point.value < 0x80) return fmt::format("\\x{:02x}", static_cast<unsigned>(point.value));
  return fmt::format("\\u{{{:x}}}", static_cast<unsigned>(point.value));
}

std::string printable(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    safe += printable(point, text);
    text.remove_prefix(point.bytes);
  }
  return safe;
}

unsigned display_width(CodePoint point) {
  if (point.valid && point.value >= ' ' && point.value < 0x7f) return 1;
  if (!point.valid || is_control(point.value)) {
    const char byte = static_cast<char>(point.value);
    return static_cast<unsigned>(printable(point, std::string_view(&byte, 1)).size());
  }
  return is_combining(point.value) ? 0 : is_wide(point.value) ? 2 : 1;
}

}  // namespace launcher::text
