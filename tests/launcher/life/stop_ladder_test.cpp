// How a VM is ended, as a table of times and rungs.
#include "launcher/life/stop_ladder.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

using namespace launcher;
using namespace std::chrono_literals;

const StopLadder::Clock::time_point start{};

// The ladder asked every second: "0 powerdown, 60 quit, ..."
std::string climb(StopLadder ladder) {
  std::string text;
  for (int second = 0; second < 200; ++second) {
    while (const auto rung = ladder.step(start + std::chrono::seconds(second))) {
      static constexpr const char* names[] = {"powerdown", "quit", "terminate", "kill"};
      text += std::to_string(second) + " " + names[static_cast<int>(*rung)] + "; ";
    }
  }
  return text;
}

}  // namespace

TEST_CASE("power-down, then the guest's time, then quit, SIGTERM and SIGKILL 5 seconds apart") {
  CHECK(climb(StopLadder(60s, start)) == "0 powerdown; 60 quit; 65 terminate; 70 kill; ");
  CHECK(climb(StopLadder(1500ms, start)) == "0 powerdown; 2 quit; 7 terminate; 12 kill; ");
}

TEST_CASE("no time for the guest: quit at once") {
  CHECK(climb(StopLadder(0s, start)) == "0 powerdown; 0 quit; 5 terminate; 10 kill; ");
}

TEST_CASE("each rung once, none before it is due, and it says when that is") {
  StopLadder ladder(10s, start);
  CHECK(ladder.due() == start);
  CHECK(ladder.step(start) == Rung::powerdown);
  CHECK(ladder.due() == start + 10s);
  CHECK(!ladder.step(start + 9999ms));
  CHECK(!ladder.exhausted());
  CHECK(ladder.step(start + 20s) == Rung::quit);  // asked late: the next counts from now
  CHECK(ladder.due() == start + 25s);
  CHECK(ladder.step(start + 25s) == Rung::terminate);
  CHECK(ladder.step(start + 30s) == Rung::kill);
  CHECK(ladder.exhausted());
  CHECK(ladder.due() == StopLadder::Clock::time_point::max());
  CHECK(!ladder.step(StopLadder::Clock::time_point::max()));
}

TEST_CASE("every rung is told in its own words") {
  CHECK(std::string(describe(Rung::powerdown)) == "asked the guest to power down (ACPI)");
  CHECK(std::string(describe(Rung::quit)) == "the guest did not power down in time: told QEMU to quit");
  CHECK(std::string(describe(Rung::terminate)) == "QEMU did not quit: sent SIGTERM");
  CHECK(std::string(describe(Rung::kill)) == "QEMU did not end: sent SIGKILL");
}
