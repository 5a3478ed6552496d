// What stands at a path, looked at without touching it.
#include "launcher/facts/path_look.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "launcher/host/linux_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/lacks.hpp"

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

TEST_CASE(
    "a device that the rules of a cgroup deny is told with the way to have it, in the plan and when it is opened") {
  namespace fs = std::filesystem;
  const fs::path group = fs::path("/sys/fs/cgroup/devices") / ("vmrun-test-" + std::to_string(getpid()));
  std::error_code none;
  if (lacks(geteuid() == 0 && fs::create_directory(group, none), "root and cgroup v1's rules for devices")) return;
  fakes::write_file(group / "devices.deny", "c 1:7 rwm");  // /dev/full
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t child = fork();
  if (child == 0) {
    fakes::write_file(group / "cgroup.procs", std::to_string(getpid()));
    std::string said = launcher::misfit("/dev/full", {S_IFCHR}, R_OK | W_OK);
    try {
      (void)launcher::LinuxFiles().open_file("/dev/full", true, false);
    } catch (const std::exception& error) {
      said += std::string("\n") + error.what();
    }
    (void)!write(ends[1], said.data(), said.size());
    _exit(0);
  }
  close(ends[1]);
  std::string said(4096, '\0');
  const ssize_t got = read(ends[0], said.data(), said.size());
  said.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  fs::remove(group);
  const std::string why =
      "Operation not permitted: its mode would allow it, the device rules of this cgroup do not (a container's: "
      "--device "
      "/dev/full; a unit's: DeviceAllow=/dev/full rw)";
  CHECK(said == "'/dev/full' cannot be opened for reading and writing: " + why + "\nopen /dev/full: " + why);
}
