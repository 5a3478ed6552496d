// Files that a command was asked to write: whole or not at all, through a link and not over it, and never waited for without end.
#include "launcher/commands/output.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "launcher/host/fd.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

void make_fifo(const fs::path& path) { REQUIRE(mkfifo(path.c_str(), 0600) == 0); }

}  // namespace

TEST_CASE("a file that is asked for is a new one in the old one's place, and a link to it stays one") {
  const fakes::TempDir dir("/tmp");  // what lies below /dev is written to as it is
  fakes::write_file(dir / "old", "before");
  fs::create_hard_link(dir / "old", dir / "kept");
  fs::create_symlink(dir / "old", dir / "link");
  commands::write_file(dir / "link", "after");
  CHECK(fs::is_symlink(dir / "link"));
  CHECK(fakes::read_file(dir / "old") == "after");
  CHECK(fakes::read_file(dir / "kept") == "before");
  CHECK(!fs::exists(dir / "old.new"));
}

TEST_CASE("what lies where the new file is made first is neither written to nor waited for") {
  const fakes::TempDir dir("/tmp");  // what lies below /dev is written to as it is
  alarm(20);                         // what hangs fails
  make_fifo(dir / "a.new");
  commands::write_file(dir / "a", "text");
  CHECK(fs::is_regular_file(dir / "a"));
  fakes::write_file(dir / "victim", "victim");
  fs::create_symlink(dir / "victim", dir / "b.new");
  fs::create_hard_link(dir / "victim", dir / "c.new");
  commands::write_file(dir / "b", "text");
  commands::write_file(dir / "c", "text");
  CHECK(fakes::read_file(dir / "victim") == "victim");
  CHECK(fakes::read_file(dir / "c") == "text");
  alarm(0);
}

TEST_CASE(
    "a pipe is written to if somebody reads; a device's file, a directory and a block device stay what they are") {
  const fakes::TempDir dir("/tmp");  // what lies below /dev is written to as it is
  alarm(20);
  make_fifo(dir / "pipe");
  CHECK_THROWS_WITH(commands::write_file(dir / "pipe", "x"), doctest::Contains("nobody reads what is written there"));
  const Fd reader(open((dir / "pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  commands::write_file(dir / "pipe", "words");
  char got[8] = {};
  CHECK(read(reader.get(), got, sizeof got) == 5);
  CHECK(std::string(got) == "words");
  CHECK(fs::is_fifo(dir / "pipe"));
  CHECK_THROWS_WITH(commands::write_file(dir.path(), "x"), doctest::Contains("is a directory; wanted a file"));
  CHECK(!fs::exists(dir.path().string() + ".new"));
  // where /dev/stdout is a file, the words go there, and the name is not replaced
  fakes::write_file(dir / "out", "");
  const Fd out(open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC));
  commands::write_file("/proc/self/fd/" + std::to_string(out.get()), "words");
  CHECK(fakes::read_file(dir / "out") == "words");
  commands::write_file("/dev/null", "x");
  CHECK(fs::is_character_file("/dev/null"));
  alarm(0);
}
