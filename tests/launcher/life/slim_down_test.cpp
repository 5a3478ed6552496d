// What a waiting vmrun gives back, and when.
#include "launcher/life/slim_down.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

using namespace launcher;

namespace {

long resident_kib() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string word; file >> word;)
    if (long kib = 0; word == "Rss:" && file >> kib) return kib;
  return -1;
}

}  // namespace

TEST_CASE("memory is given back once nothing happens for a moment, and not at each of a chatty guest's lines") {
  Slimming slimming;
  resident_kib();
  const long before = resident_kib();
  REQUIRE(before > 0);
  CHECK(slimming.before_wait(10) == 10);
  slimming.after_wait(0);
  const int moment = slimming.before_wait(-1);
  CHECK(moment > 0);
  CHECK(moment < 1000);
  slimming.after_wait(1);  // a line came
  CHECK(slimming.before_wait(60'000) == moment);
  CHECK(resident_kib() >= before);
  slimming.after_wait(0);
  const long after = resident_kib();
  CHECK(after < before);
  CHECK(slimming.before_wait(60'000) == 60'000);  // it is done
  slimming.after_wait(0);                         // but what is done at a timer's end is done by program text
  CHECK(slimming.before_wait(60'000) == moment);
}
