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

TEST_CASE("memory is given back before a wait that may be long, and not again at each of a chatty guest's lines") {
  Slimming slimming;
  resident_kib();
  const long before = resident_kib();
  REQUIRE(before > 0);
  CHECK(slimming.before_wait(10) == 10);
  CHECK(resident_kib() >= before);
  CHECK(slimming.before_wait(-1) == -1);
  const long after = resident_kib();
  CHECK(after < before);
  CHECK(slimming.before_wait(-1) == -1);  // within the same second
  CHECK(resident_kib() >= after);
}
