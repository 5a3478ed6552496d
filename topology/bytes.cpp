// Sizes to text and back.
#include "topology/bytes.hpp"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <limits>

#include "topology/shown.hpp"

namespace topology {

namespace {

constexpr std::string_view wanted = "a whole number with K, M, G or T, as in \"512M\" or \"16G\"";
constexpr std::uint64_t largest = std::numeric_limits<std::int64_t>::max();
constexpr std::array<char, 6> units = {'K', 'M', 'G', 'T', 'P', 'E'};

// "", "B" -> 0; "k", "K", "KB", "KiB" -> 10; ... ; nullopt-like -1: no unit of ours.
int shift_of(std::string_view unit) {
  if (unit.empty() || unit == "B") return 0;
  const char letter = static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0])));
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (units[i] != letter) continue;
    const auto tail = unit.substr(1);
    return tail.empty() || tail == "iB" || tail == "ib" || tail == "B" ? static_cast<int>(10 * (i + 1)) : -1;
  }
  return -1;
}

}  // namespace

std::expected<Bytes, std::string> parse_bytes(std::string_view text) {
  std::uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (text.empty()) return std::unexpected(fmt::format("an empty size; wanted {}", wanted));
  if (error == std::errc::invalid_argument)
    return std::unexpected(fmt::format("\"{}\" is not a size; wanted {}", shown(text), wanted));
  std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  if (unit.starts_with('.') || unit.starts_with(','))
    return std::unexpected(fmt::format("\"{}\" has a fraction; wanted {}", shown(text), wanted));
  const int shift = shift_of(unit);
  if (shift < 0) return std::unexpected(fmt::format("\"{}\" is not a unit; wanted {}", shown(unit), wanted));
  if (error == std::errc::result_out_of_range || count > largest >> shift)
    return std::unexpected(fmt::format("\"{}\" is too large", shown(text)));
  return Bytes{count << shift};
}

std::string to_string(Bytes bytes) {
  if (bytes.count == 0) return "0";
  int unit = 0;
  auto count = bytes.count;
  while (unit < static_cast<int>(units.size()) && count % 1024 == 0) {
    count /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::to_string(count);
  return fmt::format("{}{}", count, units[static_cast<std::size_t>(unit - 1)]);
}

}  // namespace topology
