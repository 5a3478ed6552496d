// What stands at a path, looked at without touching it.
#include "launcher/facts/path_look.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "tests/fakes/temp_dir.hpp"

TEST_CASE("a socket whose process listens is told from one that was left behind, and nobody is called") {
  const fakes::TempDir dir;
  const std::string path = (dir.path() / "sock").string();
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(listen(listener, 1) == 0);
  CHECK(launcher::has_listener(path));
  CHECK(accept(listener, nullptr, nullptr) == -1);  // nobody is waiting
  close(listener);
  CHECK_FALSE(launcher::has_listener(path));
}
