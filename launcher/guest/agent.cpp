#include "launcher/guest/agent.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <cctype>
#include <string_view>
#include <system_error>
#include <thread>

#include "launcher/text/base64.hpp"
#include "launcher/text/json_member.hpp"

namespace launcher::inline guest {

namespace json = boost::json;

namespace {

constexpr std::chrono::seconds answer_time{10};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

void add_addresses(const json::value& interface, std::vector<std::string>& v4, std::vector<std::string>& v6) {
  const json::value* list = member(interface, "ip-addresses");
  if (list == nullptr || !list->is_array()) return;
  for (const json::value& one : list->get_array()) {
    const std::string address = text_of(member(one, "ip-address"));
    const bool link_local = address.starts_with("169.254.") || lower(address).starts_with("fe80:");
    if (!address.empty() && !link_local) (address.find(':') == address.npos ? v4 : v6).push_back(address);
  }
}

std::string decoded(const json::value* value) { return from_base64(text_of(value)).value_or(""); }

int code_of(const json::value& status) {
  const auto number = [&](const char* name) -> std::optional<int> {
    const json::value* value = member(status, name);
    return value != nullptr && value->is_int64() ? std::optional(static_cast<int>(value->get_int64())) : std::nullopt;
  };
  if (const auto signal = number("signal")) return 128 + *signal;
  return number("exitcode").value_or(255);
}

bool is_true(const json::value* value) { return value != nullptr && value->is_bool() && value->get_bool(); }

}  // namespace

std::optional<::qmp::Client> reach_agent(const std::filesystem::path& run_dir, std::chrono::milliseconds patience) {
  try {
    ::qmp::Client client(::qmp::connect_unix(run_dir / "agent.sock"));
    client.execute({"guest-ping"}, patience);
    return client;
  } catch (const ::qmp::Error&) {
    return std::nullopt;
  } catch (const std::system_error&) {
    return std::nullopt;
  }
}

std::vector<std::string> agent_addresses(const std::filesystem::path& run_dir, const std::vector<std::string>& macs) {
  std::vector<std::string> v4, v6;
  try {
    auto agent = reach_agent(run_dir, std::chrono::seconds(1));
    if (!agent) return {};
    const json::value answer = agent->execute({"guest-network-get-interfaces"}, answer_time);
    if (!answer.is_array()) return {};
    for (const json::value& interface : answer.get_array())
      if (std::ranges::find(macs, lower(text_of(member(interface, "hardware-address")))) != macs.end())
        add_addresses(interface, v4, v6);
  } catch (const ::qmp::Error&) {
    return {};
  }
  v4.insert(v4.end(), v6.begin(), v6.end());
  return v4;
}

Ran run_by_agent(::qmp::Client& agent, const std::vector<std::string>& command, const std::optional<std::string>& input,
                 const std::function<void()>& idle, std::chrono::milliseconds patience) {
  ::qmp::Command start{"guest-exec"};
  json::array words;
  for (std::size_t i = 1; i < command.size(); ++i) words.emplace_back(command[i]);
  start.arguments = {{"path", command.at(0)}, {"arg", std::move(words)}, {"capture-output", true}};
  if (input) start.arguments["input-data"] = base64(*input);
  const json::value started = agent.execute(start, patience);
  const json::value* pid = member(started, "pid");
  if (pid == nullptr || !pid->is_int64())
    throw ::qmp::Error(::qmp::Error::Kind::protocol, "the guest's agent gave no pid");
  ::qmp::Command look{"guest-exec-status"};
  look.arguments = {{"pid", *pid}};
  auto pause = std::chrono::milliseconds(5);
  while (true) {
    const json::value status = agent.execute(look, patience);
    if (is_true(member(status, "exited")))
      return {.code = code_of(status),
              .out = decoded(member(status, "out-data")),
              .error = decoded(member(status, "err-data")),
              .cut = is_true(member(status, "out-truncated")) || is_true(member(status, "err-truncated"))};
    idle();
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(200));
  }
}

}  // namespace launcher::guest
