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
        "stop a VM, set memory.size = \"1536M\" or less, set memory.policy = \"preferred\", set memory.policy = "
        "\"interleave\", or set pin = \"off\" to share CPUs");
  auto request = vm(2, gib(1));
  request.page = gib(1);
  request.may_reserve_pages = false;
  CHECK(help(host, request) ==
        "reserve more at boot (hugepagesz=1G hugepages=0:1), run as root so that pages can be added, or set page = "
        "\"4K\"");
  for (Node& node : host.nodes) node.memory_free = mib(128);
  CHECK(help(host, request) == "reserve more at boot (hugepagesz=1G hugepages=0:1)");
  request.memory = gib(4000);  // more than the host has: no one thing helps
  CHECK(help(host, request) == "ask for less memory, or for smaller pages, or for none of these nodes in particular");
  for (Node& node : host.nodes) node.memory_free = {};
  CHECK(help(host, vm(2, gib(1))) == "free some memory, or give back huge pages that nobody uses");
}

TEST_CASE("pages of 1G: fewer, or more at boot where the host has so much memory, beside what other VMs hold") {
  HostTopology host = synthetic("pack:1 [numa] l3:1 core:4 pu:2");
  host.nodes[0].memory_total = gib(16), host.nodes[0].memory_free = gib(12);
  auto request = vm(2, gib(14));
  request.page = gib(1);
  CHECK(help(host, request)
            .starts_with("set size = \"11G\" or less, or reserve more at boot (hugepagesz=1G hugepages=14)"));
  CHECK(help(host, request, {{{"db", {}, {{0, gib(1), 1}}}}}) ==
        "set size = \"11G\" or less, reserve more at boot (hugepagesz=1G hugepages=15), or stop a VM");
  request.memory = gib(3072);
  CHECK(help(host, request) == "set size = \"11G\" or less");
  host = synthetic("pack:2 [numa] l3:1 core:4 pu:2");
  for (Node& node : host.nodes) node.memory_total = gib(16), node.memory_free = gib(8);
  request.memory = gib(20);
  CHECK(help(host, request).find("hugepages=0:15,1:5)") != std::string::npos);
  request.nodes = {1};
  request.memory = gib(12);
  CHECK(help(host, request) ==
        "set size = \"7G\" or less, reserve more at boot (hugepagesz=1G hugepages=1:12), or leave out memory.nodes");
}

TEST_CASE("memory that grows: its bound is what is too much, in blocks that can be added") {
  HostTopology host = synthetic("pack:1 [numa] l3:1 core:4 pu:2");
  host.nodes[0].memory_total = gib(16), host.nodes[0].memory_free = mib(6001);
  auto request = vm(2, gib(8));
  request.starts_with = gib(1);
  const auto result = place(request, host, {}, {});
  REQUIRE_FALSE(result);
  CHECK(result.error()[0].key == "memory.max");
  CHECK(help(host, request).starts_with("set max = \"5488M\" or less"));
  request.page = gib(1);
  CHECK(help(host, request).starts_with("set max = \"5G\" or less"));
  request.page.reset();
  host.nodes[0].memory_free = mib(1700);
  CHECK(help(host, request).starts_with("set max = \"1188M\" or less"));
  host.nodes[0].memory_free = mib(1537);  // half a gibibyte stays the host's
  CHECK(help(host, request).starts_with("leave out memory.max"));
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
