// A MAC address as a spec gives it: of one card, and in lower case, so that two spellings are one.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/devices/nic.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool is_mac(std::string_view text) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (i % 3 == 2 ? text[i] != ':' : !is_hex(text[i])) return false;
  return true;
}

}  // namespace

std::string read_mac(TableReader& table) {
  std::string mac = table.text("mac", "");
  if (mac.empty()) return {};
  if (!is_mac(mac)) {
    table.problem("mac",
                  fmt::format("\"{}\" is no MAC address; wanted six pairs of hex digits with colons between", mac),
                  "for example mac = \"52:54:00:12:34:56\"; or leave it out: it is then derived from the VM's name");
    return {};
  }
  std::transform(mac.begin(), mac.end(), mac.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  const unsigned first = static_cast<unsigned>(std::stoul(mac.substr(0, 2), nullptr, 16));
  if (mac == "00:00:00:00:00:00") {
    table.problem("mac", "the all-zero address belongs to no card; wanted an address of its own for this card",
                  "for example mac = \"52:54:00:12:34:56\"; or leave it out");
    return {};
  }
  if (first & 1) {
    table.problem(
        "mac", fmt::format("\"{}\" is a multicast address (its first byte is odd); wanted that of a single card", mac),
        fmt::format("make the first byte even, for example mac = \"{:02x}{}\"", first & ~1u, mac.substr(2)));
    return {};
  }
  return mac;
}

}  // namespace launcher::devices
