#include "launcher/guest/view.hpp"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <charconv>

#include "launcher/text/json_member.hpp"

namespace launcher::inline guest {

namespace {

constexpr unsigned first_port = 5900;  // VNC's display 0
constexpr std::string_view by_socket = "unix:";

// "0.0.0.0:1,password-secret=..." -> "127.0.0.1:5901"
std::optional<std::string> place_of(std::string value) {
  value = value.substr(0, value.find(','));
  if (value.starts_with(by_socket)) return value;
  const std::size_t colon = value.rfind(':');
  unsigned display = 0;
  const char* end = value.data() + value.size();
  if (colon == value.npos) return std::nullopt;
  if (const auto [last, error] = std::from_chars(value.data() + colon + 1, end, display);
      error != std::errc{} || last != end)
    return std::nullopt;
  std::string host = value.substr(0, colon);
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "[::]") host = "[::1]";
  return fmt::format("{}:{}", host, display + first_port);
}

}  // namespace

std::optional<std::string> screen_of(const boost::json::value& plan) {
  const boost::json::value* args = member(plan, "args");
  if (args == nullptr || !args->is_array()) return std::nullopt;
  for (const boost::json::value& arg : args->get_array())
    if (text_of(member(arg, "option")) == "-vnc") return place_of(text_of(member(arg, "value")));
  return std::nullopt;
}

std::vector<Viewer> viewers(const std::string& screen) {
  if (screen.starts_with(by_socket)) {
    const std::string path = screen.substr(by_socket.size());
    return {{"remote-viewer", {"vnc+unix://" + path}}, {"vncviewer", {path}}, {"gvncviewer", {path}}};
  }
  const std::size_t colon = screen.rfind(':');
  const std::string host = screen.substr(0, colon), port = screen.substr(colon + 1);
  return {{"remote-viewer", {"vnc://" + screen}}, {"vncviewer", {host + "::" + port}}, {"vinagre", {screen}}};
}

}  // namespace launcher::guest
