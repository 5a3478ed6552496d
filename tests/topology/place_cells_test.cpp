// Guest nodes by hand over thousands of random hosts: what must hold of each placement, and that one is found wherever a plain search
// over every way to lay the cells finds one.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/topology/placing.hpp"

using namespace topology;

namespace {

using Random = std::mt19937;
unsigned below(Random& random, unsigned n) { return static_cast<unsigned>(random() % n); }

// 1 to 4 nodes of whole cores of two threads, of unequal sizes; 2M pages to be had from what is free.
HostTopology random_host(Random& random) {
  HostTopology host;
  const unsigned nodes = 1 + below(random, 4);
  unsigned cpu = 0, core = 0;
  for (unsigned node = 0; node < nodes; ++node) {
    for (unsigned i = 0, cores = 2 + below(random, 5); i < cores; ++i, ++core)
      for (unsigned thread = 0; thread < 2; ++thread) host.pus.push_back({cpu++, core, node, node, node, 0});
    Node n{.id = node,
           .memory_total = gib(16),
           .memory_free = gib(1 + below(random, 9)),
           .pools = {{mib(2), 0, 0}},
           .distances = {}};
    for (unsigned to = 0; to < nodes; ++to) n.distances.push_back(to == node ? 10 : 20);
    host.nodes.push_back(std::move(n));
  }
  return host;
}

PlacementRequest random_request(Random& random, const HostTopology& host) {
  PlacementRequest request = vm(0, {});
  request.own_cpus = true;
  request.threads = 2;
  request.page = mib(2);
  for (unsigned i = 0, cells = 1 + below(random, 4); i < cells; ++i) {
    CellRequest cell;
    for (unsigned vcpus = 2 * below(random, 4); vcpus > 0; --vcpus) cell.vcpus.push_back(request.vcpus++);
    cell.size = gib(below(random, 5));
    if (cell.vcpus.empty() && cell.size.count == 0) cell.size = gib(1);
    if (below(random, 5) == 0) cell.nodes = {below(random, static_cast<unsigned>(host.nodes.size()))};
    request.memory = request.memory + cell.size;
    request.cells.push_back(std::move(cell));
  }
  if (request.vcpus == 0) request.cells[0].vcpus = {0, 1}, request.vcpus = 2;
  if (request.memory.count == 0) request.cells[0].size = request.memory = gib(1);
  return request;
}

struct Room {
  std::map<unsigned, unsigned> cores;
  std::map<unsigned, std::uint64_t> bytes;
};

bool any_way(const PlacementRequest& request, const HostTopology& host, Room room, std::size_t at = 0) {
  if (at == request.cells.size()) return true;
  const CellRequest& cell = request.cells[at];
  return std::ranges::any_of(host.nodes, [&](const Node& node) {
    if (!cell.nodes.empty() && cell.nodes.front() != node.id) return false;
    if (room.cores[node.id] < cell.vcpus.size() / 2 || room.bytes[node.id] < cell.size.count) return false;
    Room left = room;
    left.cores[node.id] -= static_cast<unsigned>(cell.vcpus.size() / 2);
    left.bytes[node.id] -= cell.size.count;
    return any_way(request, host, left, at + 1);
  });
}

void check_cells(const PlacementRequest& request, const HostTopology& host, Room room, const Placement& placed) {
  std::set<unsigned> seen, nodes;
  std::map<unsigned, unsigned> cores;
  std::map<unsigned, std::uint64_t> bytes;
  for (const MemoryCell& cell : placed.cells) {
    const CellRequest& asked = request.cells[cell.guest_node];
    CHECK(cell.vcpus == asked.vcpus);
    CHECK(cell.size == asked.size);
    REQUIRE(cell.host_nodes.size() == 1);
    const unsigned node = cell.host_nodes.front();
    nodes.insert(node);
    if (!asked.nodes.empty()) CHECK(asked.nodes.front() == node);
    bytes[node] += cell.size.count;
    cores[node] += static_cast<unsigned>(cell.vcpus.size()) / 2;
    for (const unsigned vcpu : cell.vcpus) {
      REQUIRE(placed.vcpus[vcpu].cpu);
      CHECK(placed.vcpus[vcpu].guest_node == cell.guest_node);
      CHECK(host.pu(*placed.vcpus[vcpu].cpu)->node == node);
      CHECK(host.pu(*placed.vcpus[vcpu].cpu)->core == host.pu(*placed.vcpus[vcpu - vcpu % 2].cpu)->core);
      CHECK(seen.insert(*placed.vcpus[vcpu].cpu).second);
    }
  }
  CHECK(seen.size() == request.vcpus);
  CHECK(placed.cells.size() == request.cells.size());
  for (const PageNeed& need : placed.pages) CHECK(need.page * need.pages == Bytes{bytes[need.node]});
  for (const auto& [node, count] : cores) CHECK(count <= room.cores[node]);
  const bool one_would_do = std::ranges::any_of(host.nodes, [&](const Node& node) {
    return room.cores[node.id] >= request.vcpus / 2 && room.bytes[node.id] >= request.memory.count &&
           std::ranges::all_of(request.cells, [&](const CellRequest& cell) {
             return cell.nodes.empty() || cell.nodes.front() == node.id;
           });
  });
  if (one_would_do) CHECK(nodes.size() == 1);
  if (nodes.size() > 1)
    CHECK(std::ranges::any_of(placed.notes,
                              [](const std::string& note) { return note.starts_with("the VM crosses nodes"); }));
}

}  // namespace

TEST_CASE("cells: each is on one node, all on one where that has room, and a place is found where there is one") {
  Random random(17);
  const HostPolicy policy{};
  unsigned placed = 0, refused = 0;
  for (unsigned round = 0; round < 3000; ++round) {
    INFO("round ", round);
    const HostTopology host = random_host(random);
    const PlacementRequest request = random_request(random, host);
    const auto result = place(request, host, policy, {});
    Room room;
    const CpuSet kept = default_housekeeping(host);
    for (const Pu& pu : host.pus)
      if (pu.cpu % 2 == 0 && !host.cpus_of_core(pu.core).intersects(kept)) ++room.cores[pu.node];
    for (const Node& node : host.nodes)
      room.bytes[node.id] = node.memory_free > policy.keep_free
                                ? (node.memory_free - policy.keep_free).count / mib(2).count * mib(2).count
                                : 0;
    CHECK(result.has_value() == any_way(request, host, room));
    if (result) check_cells(request, host, room, *result);
    ++(result ? placed : refused);
  }
  CHECK(placed > 500);
  CHECK(refused > 500);
}

TEST_CASE("cells: distances by hand, the host's, and 11 between two on one node") {
  const auto host = read_host_argument("synthetic:pack:2 [numa(memory=64GiB)] l3:1 core:8 pu:2");
  REQUIRE(host);
  PlacementRequest request = vm(4, gib(4));
  request.cells = {{.vcpus = {0, 1}, .size = gib(2)}, {.vcpus = {2, 3}, .size = gib(2)}};
  auto placed = place(request, *host, {}, {});
  REQUIRE(placed);
  CHECK(placed->distances == std::vector<std::vector<unsigned>>{{10, 11}, {11, 10}});
  request.cells[0].nodes = {0};
  request.cells[1].nodes = {1};
  placed = place(request, *host, {}, {});
  REQUIRE(placed);
  CHECK(placed->distances[0] == std::vector<unsigned>{10, host->distance(0, 1)});
  request.cells[0].distances = {10, 30};
  request.cells[1].distances = {40, 10};
  placed = place(request, *host, {}, {});
  REQUIRE(placed);
  CHECK(placed->distances == std::vector<std::vector<unsigned>>{{10, 30}, {40, 10}});
}
