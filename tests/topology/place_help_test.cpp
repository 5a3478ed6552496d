// What is advised where there is too little of something: each way out is taken here, as a person would, and leads to a place.
#include "tests/topology/placing.hpp"

using namespace topology;

namespace {

std::string help(const HostTopology& host, const PlacementRequest& request, const Reservations& taken = {}) {
  const auto result = place(request, host, {}, taken);
  REQUIRE_FALSE(result);
  return result.error().front().help;
}

}  // namespace

TEST_CASE("too few cores: what is advised leads to a place") {
  const HostTopology host = synthetic("pack:1 [numa] l3:2 core:4 pu:2");  // seven cores beside housekeeping's
  auto request = vm(16, gib(4));
  CHECK(help(host, request) == "set count = 14, or set pin = \"off\" to share CPUs");  // 13 would need as many cores
  request.vcpus = 14;
  CHECK(place(request, host, {}, {}));
  request.vcpus = 8;
  request.siblings = Siblings::isolate;
  CHECK(
      help(host, request) ==
      "set count = 7 or less, set siblings = \"prefer\", or set pin = \"off\" and siblings = \"prefer\" to share CPUs");
  request = vm(20, gib(4));
  request.sockets = 4;
  CHECK(help(host, request) == "set count = 8, or set pin = \"off\" to share CPUs");
  request = vm(8, gib(4));
  request.l3 = 0;
  CHECK(help(host, request) == "set count = 6, or set host_l3 = \"auto\": cores of the other L3s then do as well");
  request = vm(16, gib(4));
  request.cells = {{.vcpus = {0, 1, 2, 3, 4, 5, 6, 7}, .size = gib(2)},
                   {.vcpus = {8, 9, 10, 11, 12, 13, 14, 15}, .size = gib(2)}};
  CHECK(help(host, request) == "set pin = \"off\" to share CPUs");  // the count is in [[numa]], too
  CHECK(help(host, vm(16, gib(4)), {{{"db", {2, 3}, {}}}}) ==
        "set count = 12, stop a VM, or set pin = \"off\" to share CPUs");
  // beside too little memory, which is told by itself
  CHECK(help(host, vm(16, gib(400))) == "set count = 14, or set pin = \"off\" to share CPUs");
}

TEST_CASE("too little memory: what is advised leads to a place, too") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:4 pu:2");
  host.nodes[0].memory_free = gib(2);  // where the cores are; node 1's are another VM's
  CHECK(help(host, vm(4, gib(6)), {{{"db", CpuSet::range(8, 15), {}}}}) ==
        "stop a VM, set memory.policy = \"preferred\", set memory.policy = \"interleave\", or set pin = \"off\" to "
        "share CPUs");
  auto request = vm(2, gib(1));
  request.page = gib(1);
  request.may_reserve_pages = false;
  CHECK(help(host, request) == "reserve more at boot (hugepagesz=1G hugepages=1), or set page = \"4K\"");
  for (Node& node : host.nodes) node.memory_free = mib(128);
  CHECK(help(host, request) == "reserve more at boot (hugepagesz=1G hugepages=1)");
  for (Node& node : host.nodes) node.memory_free = {};
  CHECK(help(host, vm(2, gib(1))) == "free some memory, or give back huge pages that nobody uses");
}

TEST_CASE("CPUs that are not there are told together") {
  const HostTopology host = synthetic("pack:1 [numa] l3:1 core:2 pu:1");
  CHECK(placed(host, pinned_to({5, 1, 7}, gib(1))) == "cpu.pin: this host has no CPU 5,7; it has 0-1");
}

TEST_CASE("too few cores of a kind: mixing them is advised where it helps") {
  HostTopology host = synthetic("pack:1 [numa] l3:1 core:12 pu:1");
  host.kind_names = {"E-cores", "P-cores"};
  for (Pu& pu : host.pus) pu.kind = pu.cpu < 4 ? 1 : 0;
  CHECK(help(host, vm(10, gib(4))) ==
        "set count = 8 or less, set kind = \"any\", which mixes kinds of cores, or set pin = \"off\" to share CPUs");
  CHECK(help(host, vm(12, gib(4))) == "set count = 8 or less, or set pin = \"off\" to share CPUs");
}
