#include "topology/shown.hpp"

namespace topology {

std::string shown(std::string_view text) {
  constexpr std::size_t most = 32;
  std::string out;
  for (const char c : text.substr(0, most)) out += c >= ' ' && c < 127 ? c : '?';
  if (text.size() > most) out += "...";
  return out;
}

}  // namespace topology
