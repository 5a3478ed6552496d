// Whether an sshd answers, asked of what stands in for the ways to one.
#include "launcher/guest/route.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string_view>
#include <thread>

namespace {

using namespace launcher;
using namespace std::chrono_literals;

// Takes one caller on a port of 127.0.0.1 and does as it is told with the connection.
class OneCall {
 public:
  explicit OneCall(const std::function<void(int)>& answer) : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    REQUIRE(bind(listener_.get(), any, size) == 0);
    REQUIRE(listen(listener_.get(), 1) == 0);
    REQUIRE(getsockname(listener_.get(), any, &size) == 0);
    route_.endpoint = {"127.0.0.1", ntohs(address.sin_port)};
    thread_ = std::jthread([this, answer] {
      const Fd call(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (call) answer(call.get());
    });
  }
  const Route& route() const { return route_; }

 private:
  Fd listener_;
  Route route_;
  std::jthread thread_;
};

void say(int fd, std::string_view words) { (void)!write(fd, words.data(), words.size()); }

// Something of the caller's, its end among it.
bool heard(int fd, std::chrono::milliseconds within) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, static_cast<int>(within.count())) == 1;
}

}  // namespace

TEST_CASE("an sshd that speaks first is one") {
  const OneCall call([](int fd) { say(fd, "SSH-2.0-OpenSSH_10.0p2 Debian-7\r\n"); });
  CHECK(sshd_answers(call.route(), 5s));
}

TEST_CASE("so is one behind a forwarder that lets it speak once it has had something from the caller") {
  const OneCall call([](int fd) {
    if (heard(fd, 5s)) say(fd, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
  });
  CHECK(sshd_answers(call.route(), 4s));
}

TEST_CASE("who takes the call and hangs up, says nothing, or is another, is none") {
  const OneCall hangs_up([](int) {});
  CHECK_FALSE(sshd_answers(hangs_up.route(), 5s));
  const OneCall mute([](int) { std::this_thread::sleep_for(600ms); });
  CHECK_FALSE(sshd_answers(mute.route(), 200ms));
  const OneCall other([](int fd) { say(fd, "220 mail\r\n"); });
  CHECK_FALSE(sshd_answers(other.route(), 5s));
}
