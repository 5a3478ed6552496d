#include "launcher/watch/parse.hpp"

#include <charconv>

namespace launcher::inline watch {

namespace {

std::string_view without_blanks(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t:");
  return from == std::string_view::npos ? std::string_view() : text.substr(from);
}

}  // namespace

std::vector<std::uint64_t> numbers_in(std::string_view text) {
  std::vector<std::uint64_t> numbers;
  while (true) {
    text = without_blanks(text);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return numbers;
    numbers.push_back(number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
}

std::string_view text_after(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.starts_with(key)) return without_blanks(line.substr(key.size()));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return {};
}

std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key) {
  const std::vector<std::uint64_t> numbers = numbers_in(text_after(text, key));
  if (numbers.empty()) return std::nullopt;
  return numbers[0];
}

}  // namespace launcher::watch
