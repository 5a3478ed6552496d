// Captures: text -> files, and what a hostile one must not reach.
#include "topology/capture.hpp"

#include <doctest/doctest.h>

#include <ostream>

#include "tests/topology/scratch.hpp"
#include "topology/sysfs.hpp"

using topology::parse_capture;
using topology::Sysfs;

TEST_CASE("a capture becomes files") {
  const auto files = parse_capture(
      "# a machine\n/proc/sys/vm/swappiness = 60\n/sys/cpu/cpu{0-1,3}/state{0,1}/name = C{1}\n/proc/zoneinfo <\n\tNode "
      "0\n\t  min 5\n"
      "/sys/empty =\n/sys/bus/driver -> ice\n/sys/kernel/iommu_groups/\n");
  REQUIRE_MESSAGE(files, (files ? "" : files.error()));
  const Scratch scratch;
  topology::unpack_capture(*files, scratch.root());
  const Sysfs sysfs(scratch.root());
  CHECK(sysfs.read("/proc/sys/vm/swappiness") == "60");
  CHECK(sysfs.read("/sys/cpu/cpu3/state1/name") == "C{1}");
  CHECK(sysfs.list("/sys/cpu") == std::vector<std::string>{"cpu0", "cpu1", "cpu3"});
  CHECK(sysfs.read("/proc/zoneinfo") == "Node 0\n  min 5");
  CHECK(sysfs.read("/sys/empty") == "");
  CHECK(sysfs.link_name("/sys/bus/driver") == "ice");
  CHECK(sysfs.exists("/sys/kernel/iommu_groups"));
}

TEST_CASE("a hostile capture stays where it is put") {
  for (const char* text : {"/../etc/x = 1", "/a/../../x = 1", "relative = 1", "//x = 1", "/a/./b = 1", "/l -> /etc",
                           "/l -> ..", "/l -> a/b", "/l -> x\n/l/passwd = 1", "/l/passwd = 1\n/l -> x", "\tlost line",
                           "/a{0-3 = 1", "/a{x} = 1", "nothing", "/a{0-9999}b{0-9999} = 1", "/a\n"}) {
    INFO(text);
    CHECK_FALSE(parse_capture(text));
  }
  CHECK_FALSE(parse_capture("/" + std::string(300, 'a') + " = 1"));
  CHECK(parse_capture("/ok = 1\n\n/bad").error().starts_with("line 3: "));
}
