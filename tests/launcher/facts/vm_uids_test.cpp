// Which uids a VM may have: none that anybody else on the host has.
#include "launcher/facts/vm_uids.hpp"

#include <doctest/doctest.h>

using namespace launcher;

TEST_CASE("uids that have a name, or are some user's to give away, are passed over") {
  const auto nobody = [](unsigned) { return false; };
  const std::vector<unsigned> usual = free_ids(1'912'345'678, 2, nobody, {});
  CHECK(usual.size() == 2);
  CHECK(usual.front() == 1'912'345'678);
  CHECK(usual[1] == 1'912'345'679);
  CHECK(free_ids(1'912'345'678, 2, [](unsigned id) { return id == 1'912'345'678; }, {}).front() == 1'912'345'679);
  const std::vector<IdRange> given{{100'000, 65'536}, {1'912'300'000, 65'536}};
  CHECK(free_ids(1'912'345'678, 2, nobody, given).front() == 1'912'365'536);
  CHECK(free_ids(1'999'999'999, 2, nobody, {})[1] == 1'900'000'000);
  CHECK(free_ids(1'912'345'678, 2, [](unsigned) { return true; }, {}).empty());
  CHECK(free_ids(1'912'345'678, 2, nobody, {{0, 4'000'000'000}}).empty());
}

TEST_CASE("no more names are asked for than are needed, where each is a question to the network") {
  int asked = 0;
  free_ids(1'912'345'678, 2, [&asked](unsigned id) { return ++asked, id % 2 == 0; }, {});
  CHECK(asked == 4);
}

TEST_CASE("subuid files are read whatever stands in them") {
  CHECK(parse_subordinate_ids("ann:100000:65536\n1001:165536:1\n") ==
        std::vector<IdRange>{{100'000, 65'536}, {165'536, 1}});
  CHECK(parse_subordinate_ids("# none\n\n:\n::\nann:1\nann:x:1\nann:1:-1\nann:1:99999999999\nbob:7:8") ==
        std::vector<IdRange>{{7, 8}});
}
