// Ports of this very process: who has them is told, what is free is not.
#include "launcher/facts/port_holder.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace {

// A socket on a port that the kernel chose.
struct Bound {
  int fd;
  unsigned port = 0;
  Bound(int kind, in_addr_t address) : fd(socket(AF_INET, kind, 0)) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = address;
    socklen_t size = sizeof name;
    REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&name), size) == 0);
    if (kind == SOCK_STREAM) REQUIRE(listen(fd, 1) == 0);
    REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0);
    port = ntohs(name.sin_port);
  }
  ~Bound() { close(fd); }
  Bound(const Bound&) = delete;
  Bound& operator=(const Bound&) = delete;
};

}  // namespace

TEST_CASE(
    "a port that a foreign process holds is told with its pid and name; a free one, or another address's, is not") {
  const std::string us = "process " + std::to_string(getpid()) + " (";
  {
    const Bound all(SOCK_STREAM, htonl(INADDR_ANY));
    CHECK(launcher::port_holder(false, "", all.port).starts_with(us));
    CHECK(launcher::port_holder(false, "127.0.0.1", all.port).starts_with(us));
    CHECK(launcher::port_holder(true, "", all.port) == "");
  }
  {
    const Bound local(SOCK_STREAM, htonl(INADDR_LOOPBACK));
    CHECK(launcher::port_holder(false, "127.0.0.1", local.port).starts_with(us));
    CHECK(launcher::port_holder(false, "", local.port).starts_with(us));
    CHECK(launcher::port_holder(false, "127.0.0.2", local.port) == "");
  }
  unsigned freed = 0;
  {
    const Bound udp(SOCK_DGRAM, htonl(INADDR_LOOPBACK));
    CHECK(launcher::port_holder(true, "", udp.port).starts_with(us));
    freed = udp.port;
  }
  CHECK(launcher::port_holder(true, "", freed) == "");
}
