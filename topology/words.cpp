#include "topology/words.hpp"

#include <charconv>
#include <cstdlib>
#include <sstream>

namespace topology {

std::string chosen_word(std::string_view text) {
  const auto open = text.find('['), close = text.find(']');
  if (open == text.npos || close == text.npos || close < open) return std::string(text);
  return std::string(text.substr(open + 1, close - open - 1));
}

bool has_word(std::string_view text, std::string_view word) {
  std::istringstream words{std::string(text)};
  for (std::string one; words >> one;)
    if (one == word) return true;
  return false;
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::uint64_t meminfo_kib(std::string_view text, std::string_view key) {
  for (std::size_t at = text.find(key); at != text.npos; at = text.find(key, at + 1)) {
    const bool starts = at == 0 || text[at - 1] == ' ' || text[at - 1] == '\n';
    if (!starts || text.substr(at + key.size(), 1) != ":") continue;
    return std::strtoull(std::string(text.substr(at + key.size() + 1, 40)).c_str(), nullptr, 10);
  }
  return 0;
}

}  // namespace topology
