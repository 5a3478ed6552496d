// What a person names for text: read where it ends, refused by its kind where it does not.
#include "topology/text_file.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/fakes/temp_dir.hpp"
#include "topology/read_host.hpp"

using namespace topology;

TEST_CASE("a file, a pipe and /dev/null are read; what has no end or no text is refused by its kind") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "file", "text");
  CHECK(read_text_file(dir / "file") == "text");
  CHECK(read_text_file(dir / "file", 2) == "te");
  CHECK(read_text_file("/dev/null") == "");
  const std::string fifo = dir / "fifo";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  std::thread writer([&] { fakes::write_file(fifo, "slowly"); });
  CHECK(read_text_file(fifo) == "slowly");
  writer.join();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, (dir / "socket").c_str());
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  close(fd);
  CHECK(read_text_file(dir / "socket").error() == "it is a socket");
  CHECK(read_text_file(dir.path()).error() == "it is a directory");
  CHECK(read_text_file("/dev/zero").error() == "it is a character device");
  CHECK(read_text_file(dir / "none").error() == "No such file or directory");
  CHECK(read_host_argument("/dev/zero").error() == "cannot read /dev/zero: it is a character device");
}
