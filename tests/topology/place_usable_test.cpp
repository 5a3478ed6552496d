// Placements where not all of the machine is alike: CPUs without memory, isolated CPUs, kinds, what was allowed, and hosts too
// small to share out.
#include <random>
#include <set>

#include "tests/topology/placing.hpp"
#include "tests/topology/trees.hpp"

using namespace topology;

namespace {

HostTopology two_sockets_one_with_memory() {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:14 pu:2");
  host.nodes[0].memory_total = host.nodes[0].memory_free = gib(120);
  host.nodes[1].memory_total = host.nodes[1].memory_free = {};
  return host;
}

std::set<unsigned> nodes_of(const HostTopology& host, const Placement& placement) {
  std::set<unsigned> nodes;
  for (const VcpuSeat& seat : placement.vcpus) nodes.insert(host.pu(*seat.cpu)->node);
  return nodes;
}

}  // namespace

TEST_CASE("CPUs without memory are served by the nearest node that has some") {
  const HostTopology dimms = two_sockets_one_with_memory();
  const auto wide = place(vm(48, gib(96)), dimms, {}, {});
  REQUIRE_MESSAGE(wide, line(wide));
  CHECK(nodes_of(dimms, *wide) == std::set<unsigned>{0, 1});
  REQUIRE(wide->cells.size() == 1);
  CHECK(wide->cells[0].host_nodes == std::vector<unsigned>{0});
  CHECK(noted(wide, "node 1 has no memory: its CPUs "));
  CHECK(noted(wide, " are served by node 0, the nearest that has some"));
  const auto small = place(vm(8, gib(8)), dimms, {}, {});
  REQUIRE(small);
  CHECK(nodes_of(dimms, *small) == std::set<unsigned>{0});  // those with memory of their own first
  CHECK_FALSE(noted(small, "has no memory"));

  const HostTopology dies = tree("2990wx");
  const auto four = place(vm(48, gib(48)), dies, {}, {});
  REQUIRE_MESSAGE(four, line(four));
  CHECK(nodes_of(dies, *four) == std::set<unsigned>{0, 1, 2, 3});
  CHECK(four->cells.size() == 2);
  CHECK(four->cells[0].host_nodes == std::vector<unsigned>{0});
  CHECK(four->cells[1].host_nodes == std::vector<unsigned>{2});
  const auto pinned = place(pinned_to({8, 40, 9, 41, 10, 42, 11, 43}, gib(16)), dies, {}, {});
  REQUIRE_MESSAGE(pinned, line(pinned));
  CHECK(pinned->cells[0].host_nodes == std::vector<unsigned>{0});
  CHECK(noted(pinned, "node 1 has no memory: its CPUs 8-11,40-43 are served by node 0"));

  const auto empty = place(vm(8, gib(8)), tree("node-0-empty"), {}, {});  // CPUs that the kernel puts on no node
  REQUIRE_MESSAGE(empty, line(empty));
  CHECK(empty->cells[0].host_nodes == std::vector<unsigned>{1});
}

TEST_CASE("what cannot be is told with help that helps") {
  HostTopology unsized = synthetic("pack:1 [numa] core:4 pu:1");
  unsized.nodes[0].memory_total = unsized.nodes[0].memory_free = {};
  const auto none = place(vm(2, gib(1)), unsized, {}, {});
  REQUIRE_FALSE(none);
  CHECK(none.error()[0].what == "1G of memory do not fit: no node has any to give");
  CHECK(none.error()[0].help ==
        "no node of this host's description says how much memory it has: describe it with sizes");
  auto there = vm(2, gib(1));
  there.nodes = {1};
  const auto empty = place(there, two_sockets_one_with_memory(), {}, {});
  REQUIRE_FALSE(empty);
  CHECK(empty.error()[0].help == "leave out memory.nodes, free some memory, or give back huge pages that nobody uses");
}

TEST_CASE("memory-only nodes: their notes say what they are, and none is chosen by itself") {
  const HostTopology cxl = tree("cxl");
  auto request = vm(4, gib(8));
  request.nodes = {2};
  const auto far = place(request, cxl, {}, {});
  REQUIRE_MESSAGE(far, line(far));
  CHECK(nodes_of(cxl, *far) == std::set<unsigned>{0});
  CHECK(noted(far, "node 2 has no CPUs; the vCPUs sit on node 0"));
  request.nodes = {1, 2};
  const auto both = place(request, cxl, {}, {});
  CHECK(noted(both, "the memory is spread over exactly these"));
  CHECK_FALSE(noted(both, "and so are the vCPUs"));
  request.nodes = {};
  request.policy = MemoryPolicy::interleave;
  const auto spread = place(request, cxl, {}, {});
  REQUIRE(spread);
  CHECK(spread->cells[0].host_nodes == std::vector<unsigned>{0, 1});
  request.policy = MemoryPolicy::strict;
  request.device_nodes = {2};  // a device that hangs on the expander's node
  request.device_nodes = {3};
  const HostTopology hbm = tree("hbm");
  CHECK(nodes_of(hbm, *place(request, hbm, {}, {})) == std::set<unsigned>{1});
}

TEST_CASE("huge pages that the cgroup does not leave are not taken") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:8 pu:2");
  host.allowed.pages = {{mib(2), gib(3)}};
  host.allowed.by = {"3G of pages of 2M: hugetlb.2MB.max of cgroup /a, less what it uses"};
  CHECK(place(vm(2, gib(3)), host, {}, {})->page == mib(2));
  const auto more = place(vm(2, gib(4)), host, {}, {});
  CHECK(line(more) == "2,3 | own 2-3 | emulator 0-1 | 0:4G of 4K | 1x1x1x2");
  CHECK(noted(more, "memory.page = \"auto\" became 4K (no huge pages): vmrun was allowed 3G in pages of 2M"));
  auto asked = vm(2, gib(4));
  asked.page = mib(2);
  const auto refused = place(asked, host, {}, {});
  CHECK(line(refused) ==
        "memory.page: 4G in pages of 2M, but vmrun was allowed 3G of them; vmrun was not allowed more: " +
            host.allowed.by[0]);
  CHECK(refused.error().front().help == "raise hugetlb.2MB.max of that cgroup, or set page = \"auto\"");
}

TEST_CASE("isolated CPUs are for vCPUs, and never for threads that need balancing") {
  const HostTopology host = tree("isolcpus");
  const auto eight = place(vm(8, gib(16)), host, {}, {});
  CHECK(line(eight) == "6,18,7,19,8,20,9,21 | own 6-9,18-21 | emulator 0,12 | 0:16G of 2M | 1x1x4x2");
  CHECK_FALSE(noted(eight, "isolated"));
  const auto more = place(vm(16, gib(16)), host, {}, {});
  REQUIRE(more);
  CHECK(more->exclusive.contains(host.isolated));
  CHECK(noted(more, "of the vCPUs' CPUs 1-2,13-14 are not isolated (isolcpus has 6-11,18-23)"));
  auto off = vm(8, gib(16));
  off.pinning = Pinning::off;
  CHECK(place(off, host, {}, {})->emulator == host.all_cpus() - host.isolated);
  off.pinning = Pinning::automatic;
  off.emulator = CpuSet{7, 8};
  CHECK(noted(place(off, host, {}, {}), "cpu.emulator = 7-8: all are isolated"));

  HostTopology node_1 = synthetic("pack:2 [numa] l3:1 core:8 pu:2");
  node_1.isolated = node_1.cpus_of_node(1);
  CHECK(default_housekeeping(node_1).to_string() == "0-1");
  const auto there = place(vm(4, gib(4)), node_1, {}, {});
  CHECK(line(there) == "16,17,18,19 | own 16-19 | emulator 0-1 | 1:4G of 2M | 1x1x2x2");
  auto floating = vm(4, gib(4));
  floating.pinning = Pinning::off;
  CHECK(place(floating, node_1, {}, {})->emulator == node_1.cpus_of_node(0));
  node_1.isolated = node_1.all_cpus();  // nothing else is left: one CPU, not a mask that the kernel does not balance
  auto all = vm(32, gib(4));
  all.own_cpus = true;
  const auto full = place(all, node_1, {}, {});
  REQUIRE_MESSAGE(full, line(full));
  CHECK(full->emulator.size() == 1);
  CHECK(noted(full, "of isolated ones the kernel would use one only"));

  HostTopology forgotten = tree("isolcpus");
  forgotten.isolated = CpuSet::range(6, 11);  // the siblings 18-23 are not
  CHECK_FALSE(forgotten.isolated.contains(place(vm(2, gib(1)), forgotten, {}, {})->emulator));
}

TEST_CASE("kinds of cores by name") {
  const HostTopology host = tree("three-kinds");
  auto request = vm(4, gib(4));
  const auto seats = [&host](const PlacementRequest& r) {
    return placed(host, r).substr(0, placed(host, r).find(' '));
  };
  CHECK(seats(request) == "2,3,4,5");
  request.kind = CpuKindChoice::efficient;
  CHECK(seats(request) == "12,13,14,15");
  request.kind = CpuKindChoice::low_power;
  request.vcpus = 2;
  CHECK(seats(request) == "20,21");
  CHECK(placed(machine("hybrid-8p8e"), request) == "cpu.kind: \"low-power\", but this host has P-cores and E-cores");
  HostTopology part = host;  // a container of P-cores and low-power ones
  part.allowed.cpus = CpuSet::range(0, 5) | CpuSet::range(20, 21);
  request.kind = CpuKindChoice::efficient;
  CHECK(placed(part, request) ==
        "cpu.kind: no E-cores are among the CPUs that vmrun may use, only P-cores and low-power cores");
  part.allowed.cpus = CpuSet::range(12, 19);
  request.kind = CpuKindChoice::fastest;
  CHECK(placed(part, request) == "cpu.kind: no P-cores are among the CPUs that vmrun may use, only E-cores");
  request.kind = CpuKindChoice::efficient;
  CHECK(seats(request) == "12,13");
  request.kind = CpuKindChoice::low_power;
  request.vcpus = 4;
  CHECK(placed(host, request) == "cpu.count: 4 vCPUs need 4 whole free low-power cores (1 thread each); 2 are free");
  const auto wide = place(vm(48, gib(128)), tree("17-ranks"), {}, {});
  REQUIRE_MESSAGE(wide, line(wide));
  CHECK(wide->guest.threads == 2);
  const auto slower = place(vm(8, gib(4)), host, {}, {{{"db", CpuSet::range(2, 11), {}}}});
  CHECK(noted(slower, "the vCPUs get E-cores, not P-cores"));
}

TEST_CASE("cores of the L3 that was asked for") {
  const HostTopology host = tree("x3d");  // L3 0 of 96 MiB, L3 1 of 32 MiB, 8 cores each
  auto request = vm(4, gib(4));
  request.largest_l3 = true;
  CHECK(placed(host, request).starts_with("1,17,2,18 | own 1-2,17-18 "));
  request.vcpus = 16;
  CHECK(placed(host, request) ==
        "cpu.count: 16 vCPUs need 8 whole free cores of L3 0 (the largest) (2 threads each); 7 are free");
  request.largest_l3 = false;
  request.l3 = 1;
  CHECK(placed(host, request)
            .starts_with("8,24,9,25,10,26,11,27,12,28,13,29,14,30,15,31 | own 8-15,24-31 | emulator 0,16"));
  request.vcpus = 6;
  CHECK(placed(host, request, {{{"db", CpuSet::range(8, 13), {}}}}) ==
        "cpu.count: 6 vCPUs need 3 whole free cores of L3 1 (2 threads each); 2 are free");
  request.l3 = 2;
  CHECK(placed(host, request) == "cpu.host_l3: this host has no L3 2; it has 0-1");
  request.l3 = 0;
  request.pinning = Pinning::off;
  CHECK(placed(host, request) == "cpu.host_l3: 0, but pin = \"off\" gives no CPU to any vCPU");
  request = pinned_to({1, 2}, gib(1));
  request.largest_l3 = true;
  CHECK(placed(host, request) == "cpu.host_l3: \"largest\", but cpu.pin names the CPUs already");
  HostTopology silent = host;
  silent.caches.clear();
  request = vm(2, gib(1));
  request.largest_l3 = true;
  CHECK(placed(silent, request) == "cpu.host_l3: \"largest\", but this host does not say how large its L3s are");
  HostTopology part = host;  // vmrun may only use the smaller one's: of those, it is the largest
  part.allowed.cpus = CpuSet::range(8, 15) | CpuSet::range(24, 31);
  CHECK(placed(part, request).starts_with("9,25 |"));
}

TEST_CASE("every thread is used where cores differ in threads and whole ones are too few") {
  const HostTopology host = tree("offline-siblings");
  const auto cores = host.all_cpus().size() - default_housekeeping(host).size();
  const auto request = vm(static_cast<unsigned>(cores), gib(4));
  const auto all = place(request, host, {}, {});
  REQUIRE_MESSAGE(all, line(all));
  CHECK(all->exclusive.size() == cores);
  CHECK(all->guest.threads == 1);
}

TEST_CASE("notes and helps say what is so on odd hosts too") {
  const HostTopology three = tree("smt3");
  CHECK(noted(place(vm(2, gib(1)), three, {}, {}), "cpu.threads = \"auto\" became 2 of the host's 3: every 2 vCPUs"));
  CHECK(noted(place(vm(3, gib(1)), three, {}, {}), "cpu.threads = \"auto\" became 3, as on the host: every 3 vCPUs"));
  auto request = vm(2, gib(1));
  request.emulator = three.all_cpus();
  const auto none = place(request, three, {}, {});
  REQUIRE_FALSE(none);
  CHECK(none.error()[0].nodes[0].holder == "housekeeping 0,8,16, cpu.emulator 0-23");
  CHECK(none.error()[0].help.find("set emulator = \"auto\": cores of its CPUs are not for vCPUs") != std::string::npos);
  CHECK(noted(place(vm(12, gib(8)), tree("snc2-half-empty"), {}, {{{"db", CpuSet::range(1, 9), {}}}}),
              "node 1 has no memory: its CPUs"));
}

TEST_CASE("a plan stays within what was allowed, and says what bounds it") {
  const HostTopology batch = tree("cpuset-v2");
  const auto inside = place(vm(4, gib(8)), batch, {}, {});
  REQUIRE_MESSAGE(inside, line(inside));
  CHECK(batch.allowed.cpus->contains(inside->exclusive | inside->emulator));
  CHECK(inside->cells[0].host_nodes == std::vector<unsigned>{1});
  CHECK(noted(inside, "the plan stays within what vmrun was allowed: CPUs 12-15,28-31: the cpuset of cgroup /batch/7"));
  CHECK(placed(batch, vm(10, gib(8))).find("vmrun was not allowed more: CPUs 12-15,28-31") != std::string::npos);
  auto base = vm(2, gib(30));
  base.page = kib(4);
  CHECK(placed(batch, base).starts_with("memory.size: 30G in base pages, but vmrun was allowed 24G"));
  base.memory = gib(24);
  CHECK(placed(batch, base)
            .starts_with("memory.size: 24G in base pages and 32M for QEMU itself, but vmrun was allowed 24G"));
  HostTopology full = batch;
  full.allowed.memory = mib(8);
  const auto none = place(vm(2, gib(1)), full, {}, {});
  CHECK(line(none).starts_with("memory.size: QEMU itself needs 32M, but vmrun was allowed 8M"));
  CHECK(none.error().front().help == "raise memory.max of that cgroup");
  CHECK(placed(batch, pinned_to({0, 16}, gib(1)))
            .starts_with(
                "cpu.pin: CPU 0,16 is not among those that vmrun was allowed, 12-15,28-31; vmrun was not allowed "
                "more: CPUs 12-15"));
  const HostTopology numactl = tree("numactl");
  const auto bound = place(vm(4, gib(8)), numactl, {}, {});
  REQUIRE(bound);
  CHECK(nodes_of(numactl, *bound) == std::set<unsigned>{1});
  CHECK(bound->cells[0].host_nodes == std::vector<unsigned>{1});

  HostTopology taskset = machine("cloud-2c");
  taskset.allowed = {.cpus = CpuSet{1}, .nodes = {}, .memory = {}, .pages = {}, .by = {"CPUs 1: the affinity mask"}};
  CHECK(placed(taskset, vm(1, gib(1))) == "- | own  | emulator 1 | 0:1G of 2M | 1x1x1x1");
  HostTopology half = machine("laptop-4c");  // one thread of each core
  half.allowed = {
      .cpus = CpuSet{1, 2, 3}, .nodes = {}, .memory = {}, .pages = {}, .by = {"CPUs 1-3: the affinity mask"}};
  const auto cut = place(vm(2, gib(1)), half, {}, {});
  CHECK(line(cut) == "2,3 | own 2-3 | emulator 1 | 0:1G of 2M | 1x1x2x1");
  CHECK(noted(cut, "CPUs 6-7 share cores with the VM's but are not allowed"));
  HostTopology elsewhere = machine("xeon-2s-144");  // CPUs of node 0, memory of node 1
  elsewhere.allowed = {.cpus = elsewhere.cpus_of_node(0), .nodes = CpuSet{1}, .memory = {}, .pages = {}, .by = {"..."}};
  const auto there = place(vm(2, gib(1)), elsewhere, {}, {});
  CHECK(line(there).find("| 1:1G of 2M |") != std::string::npos);
  CHECK(noted(there, "node 0 has no memory that is allowed: its CPUs"));
  auto asked = vm(2, gib(1));
  asked.nodes = {1};
  CHECK(placed(elsewhere, asked).find("| 1:1G of 2M |") != std::string::npos);
}

TEST_CASE("on a host too small to keep CPUs, \"auto\" floats rather than take the last one") {
  const HostTopology cloud = machine("cloud-2c");
  const auto first = place(vm(2, gib(1)), cloud, {}, {});
  CHECK(line(first) == "-,- | own  | emulator 0-1 | 0:1G of 2M | 1x1x2x1");
  CHECK(noted(first, "cpu.pin = \"auto\" became \"off\""));
  const Reservations taken{{as_reservation("db", *first)}};
  CHECK(placed(cloud, vm(2, gib(1)), taken) ==
        "-,- | own  | emulator 0-1 | 0:1G of 2M | 1x1x2x1");  // and so may others
  CHECK(placed(cloud, vm(1, gib(1))) == "0 | own 0 | emulator 1 | 0:1G of 2M | 1x1x1x1");
  CHECK(placed(cloud, vm(1, gib(1)), {{{"db", {0}, {}}}}) == "- | own  | emulator 1 | 0:1G of 2M | 1x1x1x1");
  auto strict = vm(2, gib(1));
  strict.own_cpus = true;
  CHECK(placed(cloud, strict).starts_with("0,1 | own 0-1 "));
  CHECK(
      placed(cloud, vm(2, gib(1)), {}, {.housekeeping = CpuSet{}}).starts_with("0,1 | own 0-1 "));  // as host.toml says
  CHECK(placed(cloud, vm(3, gib(1))).starts_with("cpu.count: 3 vCPUs need 3 whole free cores"));
}

TEST_CASE("pins that make no sibling pairs: the note gives the order that does") {
  auto request = pinned_to({4, 5, 76, 77}, gib(1));
  request.threads = 2;
  CHECK(noted(place(request, machine("xeon-2s-144"), {}, {}), "in this order they are: pin = \"4,76,5,77\""));
  request.listed = {4, 5, 6, 76};
  CHECK_FALSE(noted(place(request, machine("xeon-2s-144"), {}, {}), "in this order"));
}

TEST_CASE("the same host up to noise: the same plan") {
  std::mt19937 random(5);
  const char* names[] = {"xeon-2s-144", "epyc-8n-16l3", "c5n-metal", "rocky-2s"};
  unsigned fitted = 0;
  for (int round = 0; round < 400; ++round) {
    HostTopology host = machine(names[random() % 4]);
    for (Node& node : host.nodes) node.memory_total = gib(128), node.memory_free = random() % 2 ? gib(120) : gib(40);
    auto request = vm(2 + 2 * static_cast<unsigned>(random() % 4), gib(1 + random() % 8));
    if (random() % 4 == 0) request.pinning = Pinning::off;
    const auto before = place(request, host, {}, {});
    for (Node& node : host.nodes) node.memory_free = node.memory_free - mib(random() % 512);
    const auto after = place(request, host, {}, {});
    CAPTURE(round);
    REQUIRE(before.has_value() == after.has_value());
    fitted += before.has_value();
    CHECK(line(before) == line(after));
  }
  CHECK(fitted > 300);
}
