// Logs that others write: bounded, with both ends kept and the cut told; nobody waits for a reader who does not come.
#include "launcher/host/log_pipe.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "launcher/host/linux_host.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;

void write_all(const Fd& fd, const std::string& text) {
  REQUIRE(write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST_CASE("a log keeps its beginning and its end, and says what is missing between them") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "console.log", "of an earlier run\n");
  LinuxHost host;
  LogPipe log(dir / "console.log", host.files.append_to(dir / "console.log"), LogPipe::least);
  const Fd writer = log.take_writer(true);
  write_all(writer, "short\n");
  log.read_some();
  CHECK(fakes::read_file(dir / "console.log") == "of an earlier run\nshort\n");
  CHECK(log.loss() == "");
  std::uint64_t said = 24;
  for (unsigned i = 0; i < 100'000; ++i) {
    const std::string line = fmt::format("line {:06}\n", i);
    write_all(writer, line);
    said += line.size();
    if (i % 1000 == 0) log.read_some();
  }
  log.read_some();
  const std::string text = fakes::read_file(dir / "console.log");
  CHECK(text.size() <= LogPipe::least);
  CHECK(text.starts_with("of an earlier run\nshort\nline 000000\nline 000001\n"));
  CHECK(text.ends_with("line 099998\nline 099999\n"));
  const std::size_t at = text.find("\n[vmrun: ");
  REQUIRE(at != std::string::npos);
  const std::string marker = text.substr(at, text.find("]\n", at) + 2 - at);
  CHECK(text.find("[vmrun: ", at + 3) == std::string::npos);
  const std::uint64_t cut = said + marker.size() - text.size();
  CHECK(marker == fmt::format("\n[vmrun: {} bytes were cut here]\n", cut));  // not a byte is unaccounted for
  CHECK(text.substr(at + marker.size()).starts_with("line "));               // and whole lines follow
  CHECK(log.loss() == fmt::format("console.log: {} bytes were cut", cut));
}

TEST_CASE("whoever may not wait loses what does not fit, and is told of as well") {
  const fakes::TempDir dir;
  LinuxHost host;
  LogPipe log(dir / "qemu.log", host.files.append_to(dir / "qemu.log"), LogPipe::least);
  Fd writer = log.take_writer(false);
  const std::string page(4096, 'x');
  unsigned pages = 0;
  while (write(writer.get(), page.data(), page.size()) > 0) ++pages;
  CHECK(errno == EAGAIN);
  CHECK(pages >= 16);
  for (unsigned i = 0; i < 8; ++i) log.read_some();
  CHECK(log.loss().ends_with("and what came too fast to be read"));
  write_all(writer, "the end\n");
  writer.reset();
  log.read_some();
  CHECK(log.fd() == -1);
  CHECK(fakes::read_file(dir / "qemu.log").ends_with("the end\n"));
}

TEST_CASE("a log that is somebody's symlink is not written") {
  const fakes::TempDir dir;
  LinuxHost host;
  fakes::write_file(dir / "victim", "as it was");
  std::filesystem::create_symlink(dir / "victim", dir / "console.log");
  CHECK_THROWS(host.files.append_to(dir / "console.log"));
  CHECK(fakes::read_file(dir / "victim") == "as it was");
}
