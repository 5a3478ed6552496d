#include "launcher/guest/ssh.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "launcher/steps/memory_file.hpp"

namespace launcher::inline guest {

namespace {

// ssh splits a value at blanks and expands '%'.
std::string option(const std::string& name, const std::string& value) {
  std::string text;
  for (const char c : value) text += c == '%' ? std::string("%%") : c == '"' ? "\\\"" : std::string(1, c);
  return fmt::format("{}=\"{}\"", name, text);
}

// A proxy's line goes through a shell, too.
std::string proxy(const std::string& self, const std::string& vm) {
  std::string line;
  for (const char c : quoted_for_sh({self, "ssh", "--bridge", vm}))
    line += c == '%' ? std::string("%%") : std::string(1, c);
  return "ProxyCommand=" + line;
}

std::string host_of(const Access& access, const Route& route) {
  return route.cid ? ssh_alias(access.vm) : route.endpoint.address;
}

}  // namespace

std::string quoted_for_sh(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    line += line.empty() ? "'" : " '";
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += "'";
  }
  return line;
}

std::vector<std::string> ssh_options(const Access& access, const Route& route, const std::string& self) {
  std::vector<std::string> words{"-F", "none"};
  const auto set = [&](const std::string& text) { words.insert(words.end(), {"-o", text}); };
  set(option("IdentityFile", access.keys + "/id"));
  set("IdentitiesOnly=yes");
  set(option("UserKnownHostsFile", access.keys + "/known_hosts"));
  set("GlobalKnownHostsFile=/dev/null");
  set("HostKeyAlias=" + ssh_alias(access.vm));
  set("HostKeyAlgorithms=ssh-ed25519");
  set("StrictHostKeyChecking=yes");
  set("CheckHostIP=no");
  set("PreferredAuthentications=publickey");
  set("LogLevel=ERROR");
  if (route.cid)
    set(proxy(self, access.vm));
  else
    set(fmt::format("Port={}", route.endpoint.port));
  return words;
}

std::vector<std::string> ssh_argv(const Access& access, const Route& route, const std::string& self,
                                  const std::string& user, const std::vector<std::string>& command) {
  std::vector<std::string> words{"ssh"};
  std::ranges::copy(ssh_options(access, route, self), std::back_inserter(words));
  words.insert(words.end(), {"-l", user, "--", host_of(access, route)});
  std::ranges::copy(command, std::back_inserter(words));
  return words;
}

std::vector<std::string> scp_argv(const Access& access, const Route& route, const std::string& self,
                                  const std::string& user, const std::vector<std::string>& paths) {
  std::vector<std::string> words{"scp", "-r", "-p", "-q"};
  std::ranges::copy(ssh_options(access, route, self), std::back_inserter(words));
  words.emplace_back("--");
  const std::string address = host_of(access, route), mark = access.vm + ":";
  const std::string host = address.find(':') == std::string::npos ? address : "[" + address + "]";
  for (const std::string& path : paths) {
    if (path.starts_with(mark))
      words.push_back(fmt::format("{}@{}:{}", user, host, path.substr(mark.size())));
    else
      words.push_back(path.find(':') != path.npos && !path.starts_with('/') ? "./" + path : path);
  }
  return words;
}

}  // namespace launcher::guest
