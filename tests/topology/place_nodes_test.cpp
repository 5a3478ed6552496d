// VMs over several nodes: which of them, and how many vCPUs on each.
#include "tests/topology/placing.hpp"

using namespace topology;

namespace {

// How many of the VM's CPUs are isolated, of each node: "2+6".
std::string isolated_parts(const HostTopology& host, const PlaceResult& result) {
  REQUIRE_MESSAGE(result, line(result));
  std::string text;
  for (const Node& node : host.nodes)
    text += fmt::format("{}{}", text.empty() ? "" : "+",
                        (result->exclusive & host.isolated & host.cpus_of_node(node.id)).size());
  return text;
}

}  // namespace

TEST_CASE("a VM over several nodes takes their isolated cores first, however they are spread") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:8 pu:2");  // 0-15 and 16-31
  host.isolated = CpuSet::range(12, 15) | CpuSet::range(20, 31);    // two cores of node 0, six of node 1
  const auto ten = place(vm(20, gib(4)), host, {}, {});
  CHECK(isolated_parts(host, ten) == "4+12");
  CHECK(noted(ten, "the VM crosses nodes 0,1 (8+12 vCPUs)"));
  const auto eight = place(vm(16, gib(4)), host, {}, {});
  CHECK(isolated_parts(host, eight) == "4+12");
  CHECK_FALSE(noted(eight, "are not isolated"));
  // the memory's nodes are both asked for: each has vCPUs, also where one alone has the isolated cores
  auto both = vm(8, gib(4));
  both.nodes = {0, 1};
  CHECK(isolated_parts(host, place(both, host, {}, {})) == "4+4");
  host.isolated = CpuSet::range(16, 31);
  CHECK(isolated_parts(host, place(both, host, {}, {})) == "0+4");
  // those nodes that have some, not the first ones
  HostTopology four = synthetic("pack:4 [numa] l3:1 core:8 pu:2");
  four.isolated = CpuSet::range(36, 47) | CpuSet::range(52, 63);
  CHECK(isolated_parts(four, place(vm(20, gib(4)), four, {}, {})) == "0+0+10+10");
}

TEST_CASE("a core whose vCPU has an isolated CPU goes first, also where its sibling is none") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:8 pu:2");
  host.isolated = {24, 26, 28};  // 25, 27 and 29 were forgotten
  auto request = vm(3, gib(1));
  request.siblings = Siblings::isolate;
  const auto three = place(request, host, {}, {});
  CHECK(line(three) == "24,26,28 | own 24-29 | emulator 16-17 | 1:1G of 2M | 1x1x3x1");
  CHECK_FALSE(noted(three, "are not isolated"));
  CHECK(line(place(vm(2, gib(1)), host, {}, {})) == "2,3 | own 2-3 | emulator 0-1 | 0:1G of 2M | 1x1x1x2");
}

TEST_CASE("vCPUs are on each of memory.nodes where there is a way to it") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:8 pu:2");
  std::erase_if(host.pus, [](const Pu& pu) { return pu.cpu < 16 && pu.cpu % 2 == 1; });  // node 0 without siblings
  auto request = vm(8, gib(4));
  request.nodes = {0, 1};
  const auto each = place(request, host, {}, {});
  CHECK(line(each) == "2,4,6,8;18,20,22,24 | own 2,4,6,8,18-25 | emulator 0,16-17 | 0:2G 1:2G of 2M | 2x1x4x1");
  CHECK(noted(each, "memory.nodes = 0,1: the memory is spread over exactly these, and so are the vCPUs"));
  request.threads = 2;
  const auto one = place(request, host, {}, {});
  CHECK(line(one) == "18,19,20,21,22,23,24,25 | own 18-25 | emulator 16-17 | 0:2G 1:2G of 2M | 1x1x4x2");
  CHECK(noted(one, "the memory is spread over exactly these; the vCPUs sit on node 1"));
  auto single = vm(1, gib(4));
  single.nodes = {0, 1};
  CHECK(noted(place(single, host, {}, {}), "the memory is spread over exactly these; the vCPUs sit on node 0"));
}
