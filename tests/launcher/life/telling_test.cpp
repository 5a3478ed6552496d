// What is told, to whom, and for how long it may take: bounded writes, the lock's wait, run records, how an end is put into words.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "launcher/life/await_lock.hpp"
#include "launcher/life/end_story.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/life/stop_ladder.hpp"
#include "launcher/text/bounded_write.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

RunRecord record_at(std::int64_t started) {
  RunRecord record;
  record.name = "db";
  record.keeper = {4242, static_cast<std::uint64_t>(started)};
  record.started = started;
  record.ended = started + 5;
  record.how = "powered-off";
  record.reason = "the guest powered off";
  record.console = "login: ";
  return record;
}

}  // namespace

TEST_CASE("a pipe and a terminal that nobody reads take what they can, and hold nobody") {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const std::string much(300'000, 'x');
  const std::size_t taken = write_within(ends[1], much, milliseconds(50));
  CHECK(taken >= 4096);
  CHECK(taken < much.size());
  CHECK(errno == EAGAIN);
  CHECK(write_within(ends[1], "more", milliseconds(0)) == 0);
  close(ends[0]);
  close(ends[1]);
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(grantpt(master) == 0);
  REQUIRE(unlockpt(master) == 0);
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(terminal >= 0);
  CHECK(write_within(terminal, much, milliseconds(50)) < much.size());
  close(terminal);
  close(master);
}

TEST_CASE("who waits for the lock says so, and can leave") {
  const fakes::TempDir dir;
  const fs::path base = dir / "run";
  std::vector<std::string> said;
  const auto say = [&](const std::string& text) { said.push_back(text); };
  { const Lock free = await_lock(base, say); }
  CHECK(said.empty());
  const Lock held(base);
  CHECK_THROWS_WITH(await_lock(base, say,
                               [&] {
                                 if (!said.empty()) throw std::runtime_error("cancelled");
                               }),
                    "cancelled");
  CHECK(said == std::vector<std::string>{"waiting for another vmrun, which holds " + (base / ".lock").string()});
}

TEST_CASE("run records come back as they were, the newest last, bounded in number and size") {
  const fakes::TempDir dir;
  const fs::path runs = runs_directory(dir / "state", "db");
  CHECK(read_records(runs).empty());
  CHECK(recorded_names(dir / "state").empty());
  for (std::int64_t i = 1; i <= 15; ++i) write_record(runs, record_at(1000 * i));
  std::vector<RunRecord> records = read_records(runs);
  REQUIRE(records.size() == runs_kept);
  CHECK(records.front() == record_at(6000));
  CHECK(records.back() == record_at(15000));
  CHECK(recorded_names(dir / "state") == std::vector<std::string>{"db"});
  RunRecord again = record_at(15000);  // a run is one record, written at its begin and at its end
  again.console = "a\xff\x1b[31m" + std::string(1'000'000, 'y') + "the end\xc3";
  write_record(runs, again);
  records = read_records(runs);
  CHECK(records.size() == runs_kept);
  CHECK(records.back().console.size() < last_words_kept + 10);
  CHECK(records.back().console.ends_with("the end\xef\xbf\xbd"));
  struct stat found {};
  REQUIRE(stat(runs.c_str(), &found) == 0);
  CHECK((found.st_mode & 0777) == 0700);
}

TEST_CASE("what else lies among the records is left out, and holds nobody") {
  const fakes::TempDir dir;
  const fs::path runs = runs_directory(dir / "state", "db");
  write_record(runs, record_at(1000));
  REQUIRE(mkfifo((runs / "0.json").c_str(), 0600) == 0);
  fs::create_symlink("/dev/zero", runs / "1.json");
  std::ofstream(runs / "2.json") << "{\"name\": \"db\"";
  std::ofstream(runs / "3.json") << "[1, 2]";
  fs::create_directory(runs / "4.json");
  CHECK(read_records(runs) == std::vector<RunRecord>{record_at(1000)});
}

TEST_CASE("a run without an end: it runs, or its vmrun was killed") {
  RunRecord record = record_at(1000);
  record.ended = 0;
  CHECK(ending_of(record) == "its vmrun was killed, so nobody saw how it ended");
  record.keeper = process_id(getpid()).value();
  CHECK(ending_of(record) == "it runs");
}

TEST_CASE("each end has its word and its sentence") {
  const auto event = [](const char* name, boost::json::object data) { return qmp::Event{name, std::move(data)}; };
  EndStory power, quit, panic, nothing;
  power.see(event("SHUTDOWN", {{"guest", true}, {"reason", "guest-shutdown"}}));
  quit.see(event("SHUTDOWN", {{"guest", false}, {"reason", "host-qmp-quit"}}));
  CHECK(panic.see(event("GUEST_PANICKED", {{"action", "pause"}})).starts_with("the guest panicked and is paused"));
  CHECK(power.end(0, "").how == "powered-off");
  CHECK(power.end(0, "").reason == "the guest powered off");
  CHECK(quit.end(0, "warning: x").reason == "QEMU was told to quit");
  CHECK(panic.end(0, "").how == "panicked");
  CHECK(nothing.end(128 + 9, "").reason == "QEMU was killed by signal 9");
  CHECK(nothing.end(1, "no memory").reason == "QEMU ended with exit code 1, and its last words were: no memory");
  CHECK(nothing.end(0, "").how == "ended");
}

TEST_CASE("a failure is told once: what a step says is not said again by the kernel's refusal") {
  const auto story = [](const char* outer, const char* inner) {
    try {
      try {
        throw std::runtime_error(inner);
      } catch (...) {
        std::throw_with_nested(std::runtime_error(outer));
      }
    } catch (const std::exception& error) {
      return whole_story(error);
    }
  };
  CHECK(story("could not open /x for appending", "open /x for appending: Permission denied") ==
        "could not open /x for appending: Permission denied");
  CHECK(story("could not make a tap", "open /dev/net/tun: No such file") ==
        "could not make a tap: open /dev/net/tun: No such file");
}

TEST_CASE("where waiting is no use, the next rung is due at once") {
  const StopLadder::Clock::time_point now{};
  StopLadder ladder(std::chrono::minutes(10), now);
  CHECK(ladder.step(now) == Rung::powerdown);
  CHECK(!ladder.step(now));
  ladder.hurry(now);
  CHECK(ladder.step(now) == Rung::quit);
}
