#include "launcher/guest/access.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <charconv>
#include <string_view>

#include "launcher/proof/subject.hpp"
#include "launcher/text/json_member.hpp"

namespace launcher::inline guest {

namespace json = boost::json;

namespace {

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// Who listens on all addresses is reached on this one.
std::string reachable(std::string address) {
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  if (address.empty() || address == "0.0.0.0") return "127.0.0.1";
  return address == "::" ? "::1" : address;
}

// "tcp:127.0.0.1:2222-:22": one hostfwd= of -netdev user
std::optional<Endpoint> user_forward(std::string_view rule) {
  const std::size_t dash = rule.rfind("-:");
  if (!rule.starts_with("tcp:") || dash == rule.npos || rule.substr(dash + 2) != "22") return std::nullopt;
  const std::string_view host = rule.substr(4, dash - 4);
  const std::size_t colon = host.rfind(':');
  const auto port = colon == host.npos ? std::nullopt : number(host.substr(colon + 1));
  if (!port) return std::nullopt;
  return Endpoint{reachable(std::string(host.substr(0, colon))), *port};
}

void add_user_forwards(const std::string& netdev, std::vector<Endpoint>& found) {
  constexpr std::string_view key = ",hostfwd=";
  for (std::size_t at = netdev.find(key); at != netdev.npos; at = netdev.find(key, at + 1)) {
    const std::size_t from = at + key.size();
    if (const auto one = user_forward(std::string_view(netdev).substr(from, netdev.find(',', from) - from)))
      found.push_back(*one);
  }
}

// "127.0.0.1/2222:22", "2200-2210:20-30": the word after passt's -t
void add_passt_forward(std::string_view rule, std::vector<Endpoint>& found) {
  const std::size_t slash = rule.rfind('/');
  const std::string address(slash == rule.npos ? std::string_view() : rule.substr(0, slash));
  const std::string_view ports = slash == rule.npos ? rule : rule.substr(slash + 1);
  const std::size_t colon = ports.find(':');
  if (colon == ports.npos) return;
  const std::string_view host = ports.substr(0, colon), guest = ports.substr(colon + 1);
  const auto first = number(host.substr(0, host.find('-'))), to = number(guest.substr(0, guest.find('-')));
  const std::size_t dash = guest.find('-');
  const auto last = dash == guest.npos ? to : number(guest.substr(dash + 1));
  if (first && to && last && *to <= 22 && 22 <= *last) found.push_back({reachable(address), *first + 22 - *to});
}

void add_argument(const std::string& option, const std::string& value, Access& access) {
  if (option == "-netdev" && value.starts_with("user,")) add_user_forwards(value, access.forwarded);
  if (option != "-device") return;
  Keys keys = keys_of(value);
  const std::string driver = keys.contains("driver") ? keys["driver"] : keys[""];
  if (driver == "vhost-vsock-pci") access.cid = number(keys["guest-cid"]);
  if (const auto mac = keys.find("mac"); mac != keys.end()) access.macs.push_back(mac->second);
  if (driver == "virtserialport" && keys["chardev"] == "agent") access.agent = true;
}

void add_step(const json::value& step, Access& access) {
  if (const json::value* keys = member(step, "keep_ssh_keys")) {
    access.keys = text_of(member(*keys, "directory"));
    access.user = text_of(member(*keys, "user"));
  }
  const json::value* helper = member(step, "start_helper");
  const json::value* child = helper == nullptr ? nullptr : member(*helper, "child");
  const json::value* argv = child == nullptr ? nullptr : member(*child, "argv");
  if (argv == nullptr || !argv->is_array() || !text_of(member(*helper, "role")).starts_with("passt ")) return;
  const json::array& words = argv->get_array();
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (text_of(&words[i]) == "-t") add_passt_forward(text_of(&words[i + 1]), access.forwarded);
}

template <class Each>
void for_each(const json::value* list, const Each& each) {
  if (list == nullptr || !list->is_array()) return;
  for (const json::value& one : list->get_array()) each(one);
}

}  // namespace

Access access_of(const std::string& vm, const json::value& plan) {
  Access access;
  access.vm = vm;
  for_each(member(plan, "args"), [&](const json::value& arg) {
    add_argument(text_of(member(arg, "option")), text_of(member(arg, "value")), access);
  });
  for_each(member(plan, "steps"), [&](const json::value& planned) {
    if (const json::value* step = member(planned, "step")) add_step(*step, access);
  });
  return access;
}

}  // namespace launcher::guest
