#include "topology/words.hpp"

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

std::uint64_t meminfo_kib(const std::string& text, const std::string& key) {
  const auto at = text.find(key + ":");
  return at == text.npos ? 0 : std::strtoull(text.c_str() + at + key.size() + 1, nullptr, 10);
}

}  // namespace topology
