#include "launcher/devices/nic_forward.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

std::optional<unsigned> read_port(std::string_view text) {
  unsigned port = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || rest != text.data() + text.size() || port == 0 || port > 65535) return std::nullopt;
  return port;
}

// "8000", "8000-8010": the first, and how many.
std::optional<std::pair<unsigned, unsigned>> read_ports(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = read_port(text.substr(0, dash));
  const auto last = dash == text.npos ? first : read_port(text.substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return std::pair(*first, *last - *first + 1);
}

// The address before the ports: "127.0.0.1" or "[::1]"; without its brackets.
std::optional<std::string> read_host_address(std::string_view text) {
  const bool brackets = text.starts_with('[') && text.ends_with(']');
  std::string address(brackets ? text.substr(1, text.size() - 2) : text);
  in6_addr binary{};
  if (inet_pton(brackets ? AF_INET6 : AF_INET, address.c_str(), &binary) != 1) return std::nullopt;
  return address;
}

std::optional<Forward> read_forward(std::string_view text) {
  Forward forward{.udp = text.starts_with("udp:"), .address = {}};
  if (!forward.udp && !text.starts_with("tcp:")) return std::nullopt;
  text.remove_prefix(4);
  const std::size_t last = text.rfind(':');
  if (last == text.npos) return std::nullopt;
  const auto guest = read_ports(text.substr(last + 1));
  text = text.substr(0, last);
  if (const std::size_t end = text.rfind(':'); end != text.npos) {
    const auto address = read_host_address(text.substr(0, end));
    if (!address) return std::nullopt;
    forward.address = *address;
    text.remove_prefix(end + 1);
  }
  const auto host = read_ports(text);
  if (!host || !guest || host->second != guest->second) return std::nullopt;
  forward.host_port = host->first;
  forward.guest_port = guest->first;
  forward.count = host->second;
  return forward;
}

}  // namespace

std::vector<Forward> read_forwards(TableReader& table) {
  std::vector<Forward> forwards;
  const std::vector<std::string> texts = table.texts("forward");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (const auto one = read_forward(texts[i]))
      forwards.push_back(*one);
    else
      table.problem(
          fmt::format("forward[{}]", i),
          fmt::format("\"{}\" names no port to forward; wanted \"tcp:HOST-PORT:GUEST-PORT\" or \"udp:...\", with an "
                      "address of the host before its port where not all shall listen, and as many ports on both sides",
                      printable(texts[i])),
          "for example forward = [\"tcp:2222:22\", \"udp:127.0.0.1:5353:53\", \"tcp:[::1]:8000-8010:80-90\"]");
  }
  return forwards;
}

}  // namespace launcher::devices
