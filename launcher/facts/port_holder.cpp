// See port_holder.hpp. /proc/net/tcp and its like name the socket (man 5 proc), /proc/PID/fd the process.
#include "launcher/facts/port_holder.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

#include "launcher/text/printable.hpp"

namespace launcher::inline facts {

namespace {

namespace fs = std::filesystem;

// As the tables write it, a word of four bytes after the other; "" is every address.
std::string in_table(const std::string& address) {
  in6_addr six{};
  in_addr four{};
  if (inet_pton(AF_INET, address.c_str(), &four) == 1 && four.s_addr != 0) return fmt::format("{:08X}", four.s_addr);
  if (inet_pton(AF_INET6, address.c_str(), &six) != 1 || IN6_IS_ADDR_UNSPECIFIED(&six)) return {};
  std::string text;
  for (const std::uint32_t word : six.s6_addr32) text += fmt::format("{:08X}", word);
  return text;
}

// Two that are bound to one port are in each other's way where one of them has every address. (Of IPv6, too: most who listen on "::"
// take IPv4 with it.)
bool meets(const std::string& theirs, const std::string& ours) {
  return theirs.find_first_not_of('0') == theirs.npos || theirs == ours || (ours.empty() && theirs.size() == 8);
}

// "socket:[123]" of those in the way: "sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode".
std::set<std::string> sockets_on(bool udp, const std::string& ours, unsigned port) {
  std::set<std::string> found;
  for (const char* table : {"", "6"}) {
    std::ifstream in(fmt::format("/proc/net/{}{}", udp ? "udp" : "tcp", table));
    for (std::string line; std::getline(in, line);) {
      std::istringstream text(line);
      std::vector<std::string> words;
      for (std::string word; text >> word;) words.push_back(word);
      if (words.size() < 10 || words[1].find(':') == std::string::npos) continue;
      const auto colon = words[1].find(':');
      unsigned its = 0;
      std::from_chars(words[1].data() + colon + 1, words[1].data() + words[1].size(), its, 16);
      const bool listens = udp || words[3] == "0A";  // TCP_LISTEN
      if (its == port && listens && meets(words[1].substr(0, colon), ours)) found.insert("socket:[" + words[9] + "]");
    }
  }
  return found;
}

}  // namespace

std::string port_holder(bool udp, const std::string& address, unsigned port) {
  const std::set<std::string> sockets = sockets_on(udp, in_table(address), port);
  if (sockets.empty()) return {};
  std::error_code none;
  for (const auto& process : fs::directory_iterator("/proc", none)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    std::error_code closed;
    for (fs::directory_iterator fd(process.path() / "fd", closed), end; !closed && fd != end; fd.increment(closed)) {
      if (!sockets.contains(fs::read_symlink(fd->path(), closed))) continue;
      std::string name;
      std::ifstream comm(process.path() / "comm");
      std::getline(comm, name);
      return fmt::format("process {} ({})", pid, printable(name));
    }
  }
  return "a process that this user may not look at";
}

}  // namespace launcher::facts
