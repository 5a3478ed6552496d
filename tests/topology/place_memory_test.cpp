// place(): pages, pools and policies.
#include "tests/topology/placing.hpp"

using namespace topology;

namespace {

HostTopology laptop_with(std::uint64_t total_2m, std::uint64_t free_2m, std::uint64_t pages_1g) {
  HostTopology host = machine("laptop-4c");  // 16G, 12G free
  host.nodes[0].pools = {{mib(2), total_2m, free_2m}, {gib(1), pages_1g, pages_1g}};
  return host;
}

std::vector<PageNeed> needs(const HostTopology& host, const PlacementRequest& request, const Reservations& taken = {}) {
  const auto result = place(request, host, {}, taken);
  REQUIRE_MESSAGE(result, line(result));
  return result->pages;
}

}  // namespace

TEST_CASE("the deficit is what the pool lacks") {
  auto request = vm(2, gib(1));
  request.page = mib(2);
  CHECK(needs(laptop_with(0, 0, 0), request) == std::vector<PageNeed>{{0, mib(2), 512, 512}});
  CHECK(needs(laptop_with(300, 100, 0), request) == std::vector<PageNeed>{{0, mib(2), 512, 412}});
  CHECK(needs(laptop_with(700, 600, 0), request) == std::vector<PageNeed>{{0, mib(2), 512, 0}});
  CHECK(needs(laptop_with(700, 600, 0), request, {{{"db", {}, {{0, mib(2), 300}}}}}) ==
        std::vector<PageNeed>{{0, mib(2), 512, 112}});
  request.page = kib(4);
  CHECK(needs(laptop_with(700, 600, 0), request) == std::vector<PageNeed>{{0, kib(4), 262144, 0}});
}

TEST_CASE("a raise leaves the host what it keeps") {
  auto request = vm(2, gib(12) - mib(512));  // 12G are free, 512M are kept
  request.page = mib(2);
  CHECK(place(request, laptop_with(0, 0, 0), {}, {}));
  request.memory = gib(12) - mib(510);
  CHECK(placed(laptop_with(0, 0, 0), request) ==
        "memory.page: 11778M of memory in pages of 2M do not fit on node 0: 11776M can be had there");
  CHECK(place(request, laptop_with(1, 1, 0), {}, {}));
  CHECK(place(request, laptop_with(0, 0, 0), {.housekeeping = {}, .keep_free = mib(510)}, {}));
  request.page = kib(4);
  CHECK(placed(laptop_with(0, 0, 0), request) ==
        "memory.size: 11778M of memory in pages of 4K do not fit on node 0: 11776M can be had there");
}

TEST_CASE("ordinary memory is promised once: what other VMs have claimed of it is not there for the next") {
  auto request = vm(2, gib(8));  // of 16G, 12G of them free: 70 % of what may be had
  request.page = kib(4);
  const HostTopology host = laptop_with(0, 0, 0);
  const auto first = needs(host, request);
  CHECK(first == std::vector<PageNeed>{{0, kib(4), 2 << 20, 0}});
  const Reservations taken{{{"a", {}, {{0, kib(4), 2 << 20}}}}};
  const auto second = place(request, host, {}, taken);
  REQUIRE_FALSE(second);
  const Unplaceable& why = second.error().front();
  CHECK(why.key == "memory.size");
  REQUIRE(why.nodes.size() == 1);
  CHECK(why.nodes[0].have == "7680M");
  CHECK(why.nodes[0].need == "8G");
  CHECK(why.nodes[0].holder == "held by a (8G)");
  CHECK(why.help == "set size = \"7680M\" or less, or stop a VM");
  request.memory = mib(7680);
  CHECK(place(request, host, {}, taken));  // the help works
  request.memory = gib(8);
  request.page = mib(2);  // a pool grows by the same memory
  const auto raised = place(request, host, {}, taken);
  REQUIRE_FALSE(raised);
  CHECK(raised.error().front().nodes.at(0).holder == "held by a (8G)");
}

TEST_CASE("page auto: 1G only where they lie ready, then 2M, then base pages with the reason") {
  const auto chosen = [](const HostTopology& host, const PlacementRequest& request) {
    const auto result = place(request, host, {}, {});
    REQUIRE_MESSAGE(result, line(result));
    for (const auto& note : result->notes)
      if (note.starts_with("memory.page = \"auto\" became ")) return note.substr(28);
    return std::string("no note");
  };
  CHECK(chosen(laptop_with(0, 0, 8), vm(2, gib(8))) == "1G: 8 pages, all free in the pool already");
  CHECK(chosen(laptop_with(0, 0, 7), vm(2, gib(8))) == "2M: 4096 pages, 4096 of them to be added to the pool");
  CHECK(chosen(laptop_with(0, 0, 8), vm(2, gib(4))) == "2M: 2048 pages, 2048 of them to be added to the pool");
  HostTopology large = laptop_with(0, 0, 9);
  large.nodes[0].memory_total = gib(32);
  CHECK(chosen(large, vm(2, gib(9))) == "1G: 9 pages, all free in the pool already");
  CHECK(chosen(large, vm(2, gib(8) + mib(512))) == "2M: 4352 pages, 4352 of them to be added to the pool");
  CHECK(chosen(laptop_with(5000, 5000, 0), vm(2, gib(8))) == "2M: 4096 pages, all free in the pool already");
  CHECK(chosen(laptop_with(0, 0, 0), vm(2, mib(3))) == "4K (no huge pages): 3M is not a multiple of 2M");
  auto user = vm(2, gib(1));
  user.may_reserve_pages = false;
  CHECK(chosen(laptop_with(511, 511, 0), user) ==
        "4K (no huge pages): too few 2M pages are free in the pools, and only root can add some");
  CHECK(chosen(laptop_with(512, 512, 0), user) == "2M: 512 pages, all free in the pool already");
  HostTopology none = machine("laptop-4c");
  none.nodes[0].pools.clear();
  CHECK(chosen(none, vm(2, gib(1))) == "4K (no huge pages): this host has no pool of 2M pages");
}

TEST_CASE("a page that was asked for is had or refused") {
  auto request = vm(2, gib(1));
  request.page = gib(1);
  CHECK(needs(laptop_with(0, 0, 0), request) == std::vector<PageNeed>{{0, gib(1), 1, 1}});  // root may try to raise
  request.may_reserve_pages = false;
  CHECK(placed(laptop_with(0, 0, 0), request) ==
        "memory.page: 1G of memory in pages of 1G do not fit on node 0: 0 can be had there");
  CHECK(needs(laptop_with(0, 0, 1), request) == std::vector<PageNeed>{{0, gib(1), 1, 0}});
  request.memory = mib(1536);
  CHECK(placed(laptop_with(0, 0, 1), request) == "memory.size: 1536M is not a multiple of the page, 1G");
  request.page = mib(3);
  CHECK(placed(laptop_with(0, 0, 1), request) == "memory.page: this host has no pages of 3M; it has 4K, 2M, 1G");
  request.page = Bytes{0};
  CHECK(placed(laptop_with(0, 0, 1), request) == "memory.page: this host has no pages of 0; it has 4K, 2M, 1G");
  request.page = {};
  request.memory = Bytes{5000};
  CHECK(placed(laptop_with(0, 0, 1), request) == "memory.size: 5000 is not a multiple of the page, 4K");
}

TEST_CASE("a node with the pages goes before one with more memory") {
  HostTopology xeon = machine("xeon-2s-144");
  xeon.nodes[0].pools[1] = {gib(1), 0, 0};
  xeon.nodes[1].pools[1] = {gib(1), 8, 8};
  CHECK(placed(xeon, vm(2, gib(8))).find("| 1:8G of 1G |") != std::string::npos);
}

TEST_CASE("policy preferred takes the rest from elsewhere, and says so") {
  const HostTopology xeon = machine("xeon-2s-144");
  auto request = vm(4, gib(6));
  request.nodes = {1};
  request.policy = MemoryPolicy::preferred;
  const auto result = place(request, xeon, {}, {});
  CHECK(line(result).find("| 1:6G of 2M |") != std::string::npos);
  CHECK(noted(result, "memory.policy = preferred: 1368M of 6G does not fit on node 1 and will lie elsewhere"));
  REQUIRE(result);
  CHECK(result->pages == std::vector<PageNeed>{{0, mib(2), 684, 684}, {1, mib(2), 2388, 2388}});
  request.page = kib(4);
  CHECK(place(request, xeon, {}, {})->pages == std::vector<PageNeed>{{0, kib(4), 350208, 0}, {1, kib(4), 1222656, 0}});
  request.memory = gib(200);
  CHECK(placed(xeon, request).starts_with("memory.size: "));
  request.memory = gib(4);
  CHECK_FALSE(noted(place(request, xeon, {}, {}), "elsewhere"));
}

TEST_CASE("policy interleave: one guest node over all host nodes") {
  const HostTopology rocky = machine("rocky-2s");
  auto request = vm(4, gib(6));
  request.policy = MemoryPolicy::interleave;
  const auto result = place(request, rocky, {}, {});
  CHECK(line(result) == "1,2,3,4 | own 1-4 | emulator 0 | 0+1:6G of 2M | 1x1x4x1");
  REQUIRE(result);
  CHECK(result->pages == std::vector<PageNeed>{{0, mib(2), 1536, 1536}, {1, mib(2), 1536, 1536}});
  request.nodes = {0};
  CHECK(placed(rocky, request).find("| 0:6G of 2M |") != std::string::npos);
  request.nodes = {};
  request.vcpus = 20;
  CHECK(placed(rocky, request).ends_with("| 0+1:6G of 2M | 2x1x10x1"));
}

TEST_CASE("cells are whole pages and round") {
  HostTopology three = synthetic("pack:3 [numa] l3:1 core:4 pu:1");
  const auto sizes = [&](std::optional<Bytes> page, Bytes memory) {
    auto request = vm(9, memory);
    request.page = page;
    std::string text;
    const auto result = place(request, three, {}, {});
    REQUIRE_MESSAGE(result, line(result));
    for (const auto& cell : result->cells) text += to_string(cell.size) + " ";
    return text;
  };
  CHECK(sizes({}, gib(1)) == "342M 342M 340M ");
  CHECK(sizes(kib(4), gib(1)) == "342M 342M 340M ");
  CHECK(sizes(gib(1), gib(4)) == "2G 1G 1G ");
  CHECK(sizes(kib(4), kib(16)) == "8K 4K 4K ");
  auto request = vm(9, gib(2));
  request.page = gib(1);
  CHECK_FALSE(place(request, three, {}, {}));  // three nodes, two pages
}
