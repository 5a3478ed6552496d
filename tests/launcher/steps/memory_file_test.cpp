// What is made in memory for the guest: text, and what files hold at that moment, as bytes, base64 and inside JSON strings.
#include "launcher/steps/memory_file.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <map>
#include <string>

#include "launcher/host/linux_host.hpp"
#include "launcher/steps/context.hpp"
#include "tests/fakes/fat_reader.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;

std::string all_of(const Fd& fd) {
  std::string bytes(std::size_t{1} << 20, '\0');
  const ssize_t count = pread(fd.get(), bytes.data(), bytes.size(), 0);
  REQUIRE(count >= 0);
  bytes.resize(static_cast<std::size_t>(count));
  return bytes;
}

template <class Step>
std::string made_by(const Step& step) {
  LinuxHost host;
  Opened opened;
  PerformContext context{.host = host, .opened = opened, .journal = [](const Undo&) {}};
  step.perform(context);
  return all_of(opened.fds.at(step.fd));
}

}  // namespace

TEST_CASE("text and files, each as it is wanted") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "key", "a \"b\"\nc\\");
  const std::string key = dir / "key";
  const MakeMemoryFile step{
      "test", {{"x: "}, {"", key}, {" y: "}, {"", key, "base64"}, {" \""}, {"", key, "json"}, {"\""}}, 9};
  CHECK(made_by(step) == "x: a \"b\"\nc\\ y: YSAiYiIKY1w= \"a \\\"b\\\"\\nc\\\\\"");
}

TEST_CASE("a volume of such files") {
  const fakes::TempDir dir;
  fakes::write_file(dir / "user", "#!/bin/sh\n");
  const MakeVolume step{"CIDATA", {{"meta-data", {{"a: 1\n"}}}, {"user-data", {{"", dir / "user"}}}}, 9};
  const std::string volume = made_by(step);
  const fakes::FatReader read(volume);
  CHECK(read.label() == "CIDATA");
  CHECK(read.files() == std::map<std::string, std::string>{{"meta-data", "a: 1\n"}, {"user-data", "#!/bin/sh\n"}});
  CHECK(made_by(step) == volume);
}

TEST_CASE("a file that is gone is an error") {
  CHECK_THROWS(made_by(MakeMemoryFile{"test", {{"", "/nonexistent/key"}}, 9}));
}

TEST_CASE("keys are made once, and known") {
  const fakes::TempDir dir;
  LinuxHost host;
  Opened opened;
  PerformContext context{.host = host, .opened = opened, .journal = [](const Undo&) {}};
  const KeepSshKeys step{dir / "state/db/ssh", "db", "ann", "/usr/bin/ssh-keygen"};
  step.perform(context);
  const std::string pub = fakes::read_file(dir / "state/db/ssh/host_key.pub");
  CHECK(fakes::read_file(dir / "state/db/ssh/known_hosts") == "vmrun-db " + pub);
  CHECK(fakes::read_file(dir / "state/db/ssh/id.pub") != pub);
  step.perform(context);
  CHECK(fakes::read_file(dir / "state/db/ssh/host_key.pub") == pub);
}
