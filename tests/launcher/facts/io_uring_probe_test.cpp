// Tried on the very file: ordinary files, empty ones, and those that cannot be read.
#include "launcher/facts/io_uring_probe.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include "tests/fakes/temp_dir.hpp"

namespace {

bool ring_here() {
  const fakes::TempDir dir;
  fakes::write_file(dir / "probe", std::string(8192, 'x'));
  return launcher::probe_io(dir / "probe").io_uring;
}

}  // namespace

TEST_CASE("a file, an empty file and one of odd size are read; otherwise the kernel's word says why not") {
  const fakes::TempDir dir;
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 100'001u}) {
    INFO("size ", size);
    fakes::write_file(dir / "image", std::string(size, 'x'));
    const launcher::IoProbe probe = launcher::probe_io(dir / "image");
    CHECK(probe.io_uring == ring_here());
    if (probe.io_uring && probe.direct_io)
      CHECK(probe.why.empty());
    else
      CHECK(!probe.why.empty());
    CHECK(fakes::read_file(dir / "image").size() == size);
  }
}

TEST_CASE("what cannot be opened has neither, and says why") {
  const launcher::IoProbe probe = launcher::probe_io("/nowhere/image");
  CHECK(!probe.direct_io);
  CHECK(!probe.io_uring);
  CHECK(probe.why == "O_DIRECT: No such file or directory");
}

TEST_CASE("a directory is no image") {
  const fakes::TempDir dir;
  CHECK(!launcher::probe_io(dir.path()).io_uring);
  CHECK(!launcher::probe_io(dir.path()).direct_io);
}

TEST_CASE("a file without read permission is not read, unless one is root") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "image", "x");
  std::filesystem::permissions(dir / "image", std::filesystem::perms::none);
  const bool root = geteuid() == 0;
  if (root) CHECK(launcher::probe_io(dir / "image").why != "O_DIRECT: Permission denied");
  std::filesystem::permissions(dir.path(), std::filesystem::perms(0711));
  if (root) REQUIRE(seteuid(65534) == 0);  // root's capabilities go with it
  const std::string why = launcher::probe_io(dir / "image").why;
  if (root) REQUIRE(seteuid(0) == 0);
  CHECK(why == "O_DIRECT: Permission denied");
}
