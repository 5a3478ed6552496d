// A guest's PID 1 waits with each message until it was read and its connection closed: it is never kept, whatever is said, and not once
// all is said.
#include "launcher/guest/notify_listener.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <string>

#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
using Clock = std::chrono::steady_clock;

struct Place {
  fakes::TempDir dir{"/tmp"};
  sockaddr_un address{};
  Place() {
    address.sun_family = AF_UNIX;
    const std::string path = dir / "notify";
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  }
  const sockaddr* any() const { return reinterpret_cast<const sockaddr*>(&address); }
  Fd listener() const {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    REQUIRE(bind(fd.get(), any(), sizeof address) == 0);
    REQUIRE(listen(fd.get(), 4) == 0);
    return fd;
  }
  // As systemd does it: one message, its end, and then the other side's. False: nobody is there, or it is kept for ten seconds.
  bool say(const std::string& message) const {
    const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{10, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char none = 0;
    return connect(fd.get(), any(), sizeof address) == 0 &&
           send(fd.get(), message.data(), message.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(message.size()) &&
           shutdown(fd.get(), SHUT_WR) == 0 && recv(fd.get(), &none, 1, 0) == 0;
  }
};

bool soon(const std::function<bool()>& so) {
  for (const auto end = Clock::now() + std::chrono::seconds(20); Clock::now() < end;)
    if (so()) return true;
  return false;
}

}  // namespace

TEST_CASE("a guest that tells how it gets on is kept for no message") {
  const Place place;
  const NotifyListener listener(place.listener(), [](int) { return true; });
  for (int i = 0; i < 20; ++i) CHECK(place.say("X_SYSTEMD_UNIT_ACTIVE=a.target\nSTATUS=READY=1 is not said so\n"));
  CHECK(!listener.is_ready());
  CHECK(place.say("STATUS=up\nREADY=1"));
  CHECK(soon([&] { return listener.is_ready(); }));
  CHECK(soon([&] { return !place.say("STOPPING=1\n"); }));  // nobody listens any more: its end is not waited for
}

TEST_CASE("whoever is not the guest is not believed, and once called off nobody is kept") {
  const Place place;
  NotifyListener listener(place.listener(), [](int) { return false; });
  (void)place.say("READY=1");
  CHECK(!listener.is_ready());
  listener.stop();
  CHECK(soon([&] { return !place.say("READY=1"); }));
  CHECK(!listener.is_ready());
}
