// The other end of a socketpair, played by a thread: what QEMU would say, or should never say.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace qmp_tests {

inline constexpr std::string_view greeting_line =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}})"
    "\r\n";

struct Asked {
  std::string command;
  boost::json::object arguments;
  std::uint64_t id = 0;
};

// Declare it before its Client: the client goes first, and the script sees EOF.
class Peer {
 public:
  class End {
   public:
    explicit End(int fd) : fd_(fd) {}
    bool send(std::string_view text) {  // false: the client is gone
      while (!text.empty()) {
        const ssize_t size = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
        if (size < 0) return false;
        text.remove_prefix(static_cast<std::size_t>(size));
      }
      return true;
    }
    std::optional<std::string> line() {  // without its newline; nullopt: the client is gone
      std::string text;
      for (char c = 0; ::recv(fd_, &c, 1, 0) == 1; text += c) {
        if (c == '\n') return text;
      }
      return std::nullopt;
    }
    std::optional<Asked> asked() {
      const std::optional<std::string> text = line();
      if (!text) return std::nullopt;
      const boost::json::object command = boost::json::parse(*text).as_object();
      Asked asked{std::string(command.at("execute").as_string()), {}, command.at("id").to_number<std::uint64_t>()};
      if (command.contains("arguments")) asked.arguments = command.at("arguments").as_object();
      return asked;
    }
    void reply(std::uint64_t id, std::string_view json) {
      send(R"({"return": )" + std::string(json) + R"(, "id": )" + std::to_string(id) + "}\r\n");
    }
    void refuse(std::uint64_t id, std::string_view error_class, std::string_view text) {
      send(R"({"id": )" + std::to_string(id) + R"(, "error": {"class": ")" + std::string(error_class) +
           R"(", "desc": ")" + std::string(text) + "\"}}\r\n");
    }
    void event(std::string_view name, std::string_view data = "{}") {
      send(R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": ")" + std::string(name) + R"(", "data": )" +
           std::string(data) + "}\r\n");
    }
    // Greets and answers qmp_capabilities.
    void handshake() {
      send(greeting_line);
      if (const std::optional<Asked> command = asked()) reply(command->id, "{}");
    }
    void wait_for_eof() {
      while (line()) {
      }
    }
    void hang_up() { ::shutdown(fd_, SHUT_RDWR); }

   private:
    int fd_;
  };

  explicit Peer(std::function<void(End&)> script) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) throw std::runtime_error("socketpair");
    clients_ = ends[0];
    thread_ = std::thread([fd = ends[1], script = std::move(script)] {
      End end(fd);
      script(end);
      ::close(fd);
    });
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { thread_.join(); }

  int take() const { return clients_; }  // for the Client, who closes it

 private:
  int clients_ = -1;
  std::thread thread_;
};

}  // namespace qmp_tests
