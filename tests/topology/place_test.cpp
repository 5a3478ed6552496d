// place() over named machines: whole placements in one line each.
#include "topology/place.hpp"

#include "tests/topology/placing.hpp"

using namespace topology;

TEST_CASE("one node: whole cores, siblings as guest threads") {
  const HostTopology xeon = machine("xeon-2s-144");
  CHECK(placed(xeon, vm(4, gib(4))) == "1,73,2,74 | own 1-2,73-74 | emulator 0,72 | 0:4G of 2M | 1x1x2x2");
  CHECK(placed(xeon, vm(3, gib(4))) == "1,2,3 | own 1-3,73-75 | emulator 0,72 | 0:4G of 2M | 1x1x3x1");
  CHECK(placed(machine("laptop-4c"), vm(6, gib(8))) ==
        "1,5,2,6,3,7 | own 1-3,5-7 | emulator 0,4 | 0:8G of 2M | 1x1x3x2");
  CHECK(placed(machine("rocky-2s"), vm(12, gib(32))) ==
        "17,18,19,20,21,22,23,24,25,26,27,28 | own 17-28 | emulator 16 | 1:32G of 2M | 1x1x12x1");  // node 1 has more
                                                                                                    // free memory
  CHECK(placed(machine("c5n-metal"), vm(2, gib(1))) == "1,37 | own 1,37 | emulator 0,36 | 0:1G of 2M | 1x1x1x2");
}

TEST_CASE("threads as asked") {
  const HostTopology xeon = machine("xeon-2s-144");
  auto request = vm(4, gib(4));
  request.threads = 1;
  CHECK(placed(xeon, request) == "1,2,3,4 | own 1-4,73-76 | emulator 0,72 | 0:4G of 2M | 1x1x4x1");
  CHECK(noted(place(request, xeon, {}, {}), "CPUs 73-76 stay idle"));
  request.threads = 2;
  CHECK(placed(xeon, request) == "1,73,2,74 | own 1-2,73-74 | emulator 0,72 | 0:4G of 2M | 1x1x2x2");
  CHECK(placed(machine("rocky-2s"), request) == "cpu.threads: 2 threads per core asked, this host's cores have 1");
  request.threads = 3;
  CHECK(placed(xeon, request) == "cpu.threads: 4 vCPUs cannot be divided into cores of 3 threads");
  request.threads = 0;
  CHECK(placed(xeon, request) == "cpu.threads: 4 vCPUs cannot be divided into cores of 0 threads");
  const HostTopology smt4 = synthetic("pack:1 [numa] l3:1 core:4 pu:4");
  request.threads = 2;
  CHECK(placed(smt4, request) == "4,5,8,9 | own 4-11 | emulator 0-3 | 0:4G of 2M | 1x1x2x2");
  request.threads = {};
  CHECK(placed(smt4, request) == "4,5,6,7 | own 4-7 | emulator 0-3 | 0:4G of 2M | 1x1x1x4");
}

TEST_CASE("the guest's shape when the user wants one") {
  const HostTopology xeon = machine("xeon-2s-144");
  const auto shaped = [&](std::optional<unsigned> sockets, std::optional<unsigned> cores,
                          std::optional<unsigned> threads, unsigned vcpus = 8) {
    auto request = vm(vcpus, gib(1));
    request.sockets = sockets, request.cores = cores, request.threads = threads;
    const auto result = place(request, xeon, {}, {});
    if (!result) return line(result);
    return fmt::format("{}x{}x{}x{}", result->guest.sockets, result->guest.dies, result->guest.cores,
                       result->guest.threads);
  };
  CHECK(shaped(2, {}, {}) == "2x1x2x2");
  CHECK(shaped({}, 2, {}) == "2x1x2x2");
  CHECK(shaped({}, 8, {}) == "1x1x8x1");
  CHECK(shaped(1, 8, {}) == "1x1x8x1");
  CHECK(shaped(1, 4, {}) == "1x1x4x2");
  CHECK(shaped(2, 2, 2) == "2x1x2x2");
  CHECK(shaped(8, {}, {}) == "8x1x1x1");
  CHECK(shaped(2, 4, 2) == "cpu.cores: 2 sockets x 4 cores x 2 threads = 16, but there are 8 vCPUs");
  CHECK(shaped(1, 2, {}) == "cpu.cores: 1 sockets x 2 cores = 2, but there are 8 vCPUs");
  CHECK(shaped(3, {}, {}) == "cpu.sockets: 8 vCPUs cannot be divided by 3 sockets = 3");
  CHECK(shaped({}, 3, 2) == "cpu.cores: 8 vCPUs cannot be divided by 3 cores x 2 threads = 6");
  CHECK(shaped(0, {}, {}) == "cpu.sockets: 0; wanted 1 or more");
  CHECK(shaped(65536, 65536, {}) == "cpu.cores: 65536 sockets x 65536 cores = 4294967296, but there are 8 vCPUs");
}

TEST_CASE("one L3 if it fits, the one that leaves the fewest cores over") {
  const HostTopology epyc = machine("epyc-8n-16l3");
  CHECK(placed(epyc, vm(8, gib(8))) == "4,68,5,69,6,70,7,71 | own 4-7,68-71 | emulator 0,64 | 0:8G of 2M | 1x1x4x2");
  CHECK(placed(epyc, vm(6, gib(8))) == "1,65,2,66,3,67 | own 1-3,65-67 | emulator 0,64 | 0:8G of 2M | 1x1x3x2");
  const auto two = place(vm(14, gib(8)), epyc, {}, {});
  CHECK(line(two).starts_with("1,65,2,66,3,67,4,68,5,69,6,70,7,71 | own 1-7,65-71 "));
  CHECK(noted(two, "on node 0 the vCPUs span 2 last-level caches (0,1): none has 7 whole free cores"));
  // Three L3 of 4, 3 and 2 free cores: 5 cores take the fullest and the tightest for the rest.
  const HostTopology three = synthetic("pack:1 [numa] l3:3 core:4 pu:1");
  const Reservations taken{{{"db", {7, 10, 11}, {}}}};
  CHECK(placed(three, vm(5, gib(1)), taken, {.housekeeping = CpuSet{}}).starts_with("0,1,2,3,8 | own 0-3,8 "));
  CHECK(placed(three, vm(6, gib(1)), taken, {.housekeeping = CpuSet{}}).starts_with("0,1,2,3,8,9 | own 0-3,8-9 "));
}

TEST_CASE("which node: devices, then memory, then cores, then number") {
  const HostTopology xeon = machine("xeon-2s-144");
  auto request = vm(4, gib(4));
  request.device_nodes = {1};
  CHECK(placed(xeon, request) == "37,109,38,110 | own 37-38,109-110 | emulator 36,108 | 1:4G of 2M | 1x1x2x2");
  request.memory = gib(6);  // more than node 1 has
  CHECK(placed(xeon, request) == "1,73,2,74 | own 1-2,73-74 | emulator 0,72 | 0:6G of 2M | 1x1x2x2");
  HostTopology two = synthetic("pack:2 [numa] l3:1 core:4 pu:1");
  CHECK(placed(two, vm(2, gib(1))).starts_with("1,2 | "));
  CHECK(placed(two, vm(2, gib(1)), {{{"db", {1}, {}}}}).starts_with("5,6 | "));  // more free cores
  two.nodes[0].memory_free = gib(65);
  two.nodes[0].memory_total = gib(65);
  CHECK(placed(two, vm(2, gib(1)), {{{"db", {1}, {}}}}).starts_with("5,6 | "));  // one GiB is noise
  two.nodes[1].memory_free = gib(40);
  CHECK(placed(two, vm(2, gib(1)), {{{"db", {1}, {}}}}).starts_with("2,3 | "));  // more free memory goes before cores
}

TEST_CASE("kinds of cores are not mixed") {
  const HostTopology hybrid = machine("hybrid-8p8e");
  CHECK(placed(hybrid, vm(14, gib(8))).starts_with("2,3,4,5,6,7,8,9,10,11,12,13,14,15 | own 2-15 | emulator 0-1 "));
  CHECK(placed(hybrid, vm(16, gib(8))) == "cpu.count: 16 vCPUs need 8 whole free P-cores (2 threads each); 7 are free");
  const Reservations busy{{{"db", CpuSet::range(2, 11), {}}}};
  const auto slower = place(vm(8, gib(8)), hybrid, {}, busy);
  CHECK(line(slower) == "16,17,18,19,20,21,22,23 | own 16-23 | emulator 0-1 | 0:8G of 2M | 1x1x8x1");
  CHECK(noted(slower, "the vCPUs get E-cores, not P-cores"));
  auto request = vm(8, gib(8));
  request.kind = CpuKindChoice::efficient;
  CHECK(placed(hybrid, request).starts_with("16,17,18,19,20,21,22,23 | own 16-23 "));
  request.kind = CpuKindChoice::fastest;
  CHECK(placed(hybrid, request, busy).starts_with("cpu.count: "));
  request.kind = CpuKindChoice::any;
  request.vcpus = 12;
  CHECK(placed(hybrid, request).starts_with("2,3,4,5,6,7,8,9,10,11,12,13 | own 2-13 "));
  request.vcpus = 20;  // more than the 15 whole cores: every thread of them
  const auto filled = place(request, hybrid, {}, {});
  CHECK(line(filled).starts_with("2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21 | own 2-21 | emulator 0-1 "));
  CHECK(line(filled).ends_with("| 1x1x20x1"));
  CHECK(noted(filled, "the vCPUs fill every thread of cores that have different numbers of them"));
  request.vcpus = 23;
  CHECK(placed(hybrid, request) == "cpu.count: 23 vCPUs need 23 free threads of whole cores; 22 are free");
  request.threads = 1;
  CHECK(placed(hybrid, request) == "cpu.count: 23 vCPUs need 23 whole free cores (1 thread each); 15 are free");
}

TEST_CASE("several nodes when one is not enough, and it is said why") {
  const HostTopology rocky = machine("rocky-2s");
  const auto cores = place(vm(20, gib(32)), rocky, {}, {});
  CHECK(line(cores) ==
        "1,2,3,4,5,6,7,8,9,10;17,18,19,20,21,22,23,24,25,26 | own 1-10,17-26 | emulator 0,16 | 0:16G 1:16G of 2M | "
        "2x1x10x1");
  CHECK(noted(cores, "the VM crosses nodes 0,1 (10+10 vCPUs): no node has 20 whole free cores (most: node 0 with 15)"));
  REQUIRE(cores);
  CHECK(cores->distances == std::vector<std::vector<unsigned>>{{10, 21}, {21, 10}});
  CHECK(cores->pages == std::vector<PageNeed>{{0, mib(2), 8192, 8192}, {1, mib(2), 8192, 8192}});
  CHECK(cores->cells[1].vcpus == std::vector<unsigned>{10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
  const auto memory = place(vm(12, gib(48)), rocky, {}, {});
  CHECK(line(memory).ends_with(" | 0:24G 1:24G of 2M | 2x1x6x1"));
  CHECK(noted(memory, "no node with 12 whole free cores has 48G of free memory too"));
  const HostTopology epyc = machine("epyc-8n-16l3");
  CHECK(placed(epyc, vm(16, gib(64))) ==  // two near nodes of one package: a die for each
        "4,68,5,69,6,70,7,71;12,76,13,77,14,78,15,79 | own 4-7,12-15,68-71,76-79 | emulator 0,8,64,72 | 0:32G 1:32G of "
        "2M | 1x2x4x2");
  const Reservations taken{{{"db", epyc.cpus_of_node(1) | epyc.cpus_of_node(2) | epyc.cpus_of_node(3), {}}}};
  CHECK(placed(epyc, vm(16, gib(64)), taken).find("| 4:32G 5:32G of 2M | 1x2x4x2") !=
        std::string::npos);  // not 0 and 4: those are far apart
  CHECK(placed(epyc, vm(112, gib(64))).ends_with("0:8G 1:8G 2:8G 3:8G 4:8G 5:8G 6:8G 7:8G of 2M | 2x4x7x2"));
}

TEST_CASE("more than eight nodes") {
  const HostTopology many = synthetic("pack:12 [numa] l3:1 core:2 pu:1");
  const auto result = place(vm(5, gib(1)), many, {}, {});
  REQUIRE(result);
  CHECK(result->cells.size() == 3);
  CHECK(line(place(vm(25, gib(1)), many, {}, {})) ==
        "cpu.count: 25 vCPUs need 25 whole free cores (1 thread each); 24 are free");
}

TEST_CASE("nodes as asked") {
  const HostTopology xeon = machine("xeon-2s-144");
  auto request = vm(4, gib(4));
  request.nodes = {1};
  CHECK(placed(xeon, request).find("| 1:4G of 2M |") != std::string::npos);
  request.nodes = {1, 0};
  const auto both = place(request, xeon, {}, {});
  CHECK(line(both) == "1,73;37,109 | own 1,37,73,109 | emulator 0,36,72,108 | 0:2G 1:2G of 2M | 2x1x1x2");
  CHECK(noted(both, "memory.nodes = 0,1: the memory is spread over exactly these"));
  request.nodes = {0, 2, 0};
  CHECK(placed(xeon, request) ==
        "memory.nodes: this host has no node 2; it has 0,1 / memory.nodes: node 0 is named twice");
  request.nodes = {1};
  request.memory = gib(6);
  CHECK(placed(xeon, request) ==
        "memory.size: 6G of memory in pages of 4K do not fit on node 1: 4776M can be had there");
}

TEST_CASE("a node without CPUs is served by the nearest CPUs") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:4 pu:1");
  host.nodes.push_back({2, gib(128), gib(128), host.nodes[0].pools, {30, 20, 10}});
  host.nodes[0].distances = {10, 21, 30};
  host.nodes[1].distances = {21, 10, 20};
  CHECK(placed(host, vm(2, gib(4))).find("| 0:4G ") != std::string::npos);  // never chosen by itself
  auto request = vm(2, gib(4));
  request.nodes = {2};
  CHECK(placed(host, request) == "5,6 | own 5-6 | emulator 4 | 2:4G of 2M | 1x1x2x1");
  request.nodes = {1, 2};
  CHECK(placed(host, request) == "5,6 | own 5-6 | emulator 4 | 1:2G 2:2G of 2M | 1x1x2x1");
}

TEST_CASE("CPUs as listed") {
  const HostTopology laptop = machine("laptop-4c");
  CHECK(placed(laptop, pinned_to({1, 5, 2, 6, 3, 7}, gib(8))) ==  // guide 000
        "1,5,2,6,3,7 | own 1-3,5-7 | emulator 0,4 | 0:8G of 2M | 1x1x3x2");
  CHECK(placed(laptop, pinned_to({3, 2, 1}, gib(8))) == "3,2,1 | own 1-3,5-7 | emulator 0,4 | 0:8G of 2M | 1x1x3x1");
  CHECK(placed(laptop, pinned_to({1, 2, 3, 5}, gib(8))) ==
        "1,2,3,5 | own 1-3,5-7 | emulator 0,4 | 0:8G of 2M | 1x1x4x1");
  const auto kept = place(pinned_to({0, 1}, gib(8)), laptop, {}, {});
  CHECK(line(kept) == "0,1 | own 0-1,5 | emulator 4 | 0:8G of 2M | 1x1x2x1");
  CHECK(noted(kept, "cpu.pin names CPUs 0 that the host keeps for itself"));
  CHECK(noted(kept, "CPUs 4 share cores with the VM's but stay the host's"));
  const Reservations taken{{{"db", {2, 6}, {}}}};
  CHECK(placed(laptop, pinned_to({1, 1, 9, 2}, gib(8)), taken) ==
        "cpu.pin: CPU 1 is named twice / cpu.pin: CPU 2 belongs to the VM db / cpu.pin: this host has no CPU 9; it has "
        "0-7");
  CHECK(placed(laptop, pinned_to({1}, gib(8)), {{{"db", {5}, {}}}}) ==
        "cpu.pin: CPU 1 shares a core with CPU 5, which belongs to the VM db");
  auto request = pinned_to({1, 2}, gib(8));
  request.vcpus = 3;
  CHECK(placed(laptop, request) == "cpu.pin: names 2 CPUs for 3 vCPUs");
  request = pinned_to({1, 2}, gib(8));
  request.threads = 2;
  CHECK(noted(place(request, laptop, {}, {}), "the listed CPUs are not in rows of 2 on one core each"));
}

TEST_CASE("memory follows listed CPUs") {
  const HostTopology rocky = machine("rocky-2s");
  const auto crossing = place(pinned_to({1, 2, 3, 17}, gib(8)), rocky, {}, {});
  CHECK(line(crossing) == "1,2,3;17 | own 1-3,17 | emulator 0,16 | 0:6G 1:2G of 2M | 1x4x1x1");
  CHECK(noted(crossing, "the VM crosses nodes 0,1: so do the CPUs that cpu.pin names"));
  CHECK(placed(rocky, pinned_to({17, 1}, gib(8))) == "17;1 | own 1,17 | emulator 0,16 | 0:4G 1:4G of 2M | 2x1x1x1");
  auto request = pinned_to({1, 2}, gib(8));
  request.nodes = {1};
  const auto apart = place(request, rocky, {}, {});
  CHECK(line(apart) == "1,2 | own 1-2 | emulator 0 | 1:8G of 2M | 1x1x2x1");
  CHECK(noted(apart, "the memory lies on nodes 1, the CPUs that cpu.pin names on 0"));
  CHECK(placed(rocky, pinned_to({1}, gib(60))) ==
        "memory.size: 60G of memory in pages of 4K do not fit on node 0: 41488M can be had there");
}

TEST_CASE("siblings as wanted") {
  const HostTopology xeon = machine("xeon-2s-144"), rocky = machine("rocky-2s");
  auto request = vm(2, gib(1));
  request.page = kib(4);
  request.siblings = Siblings::isolate;
  const auto isolated = place(request, xeon, {}, {});
  REQUIRE(isolated);
  CHECK(isolated->guest.threads == 1);
  CHECK(isolated->exclusive.size() == 4);
  CHECK(noted(isolated, "siblings = \"isolate\""));
  CHECK(noted(isolated, "stay idle"));
  request.threads = 2;
  CHECK(placed(xeon, request).starts_with("cpu.threads: 2, but siblings = \"isolate\""));
  request.threads.reset();
  CHECK(place(request, rocky, {}, {}).has_value());  // no siblings: nothing to keep idle
  request.siblings = Siblings::require;
  CHECK(placed(rocky, request).starts_with("cpu.siblings: \"require\", but no core of this host has SMT siblings"));
  CHECK(place(request, xeon, {}, {})->guest.threads == 2);
  request.threads = 1;
  CHECK(placed(xeon, request).starts_with("cpu.threads: 1, but siblings = \"require\""));
  request.threads.reset();
  request.vcpus = 3;
  CHECK(placed(xeon, request).starts_with("cpu.siblings: \"require\", but 3 vCPUs are no multiple"));
  request.vcpus = 4;
  request.cores = 2;
  request.sockets = 1;
  request.siblings = Siblings::isolate;
  CHECK(placed(xeon, request).starts_with("cpu.cores: this shape leaves 4 vCPUs more than one thread a core"));
  request.pinning = Pinning::off;
  CHECK(placed(xeon, request).starts_with("cpu.siblings: \"isolate\", but pin = \"off\""));
  auto listed = pinned_to({4, 76}, gib(1));
  listed.page = kib(4);
  listed.siblings = Siblings::isolate;
  CHECK(placed(xeon, listed).starts_with("cpu.pin: two of the listed CPUs share a core"));
  listed.siblings = Siblings::require;
  CHECK(place(listed, xeon, {}, {}).has_value());
  listed.listed = {4, 5};
  CHECK(placed(xeon, listed).starts_with("cpu.pin: the listed CPUs are not the threads of whole cores"));
  listed.siblings = Siblings::isolate;
  CHECK(place(listed, xeon, {}, {})->exclusive == CpuSet{4, 5, 76, 77});
  listed.listed = {0, 5};
  CHECK(placed(xeon, listed).starts_with("cpu.pin: CPUs 0,72 of the listed cores stay the host's"));
}

TEST_CASE("no pinning") {
  const HostTopology xeon = machine("xeon-2s-144");
  auto request = vm(4, gib(1));
  request.pinning = Pinning::off;
  request.iothreads = 1;
  CHECK(placed(xeon, request) == "-,-,-,- | own  | emulator 0-35,72-107 | 0:1G of 2M | 1x1x4x1");
  CHECK(placed(xeon, request, {{{"db", {1, 73}, {}}}}).find("emulator 0,2-35,72,74-107") != std::string::npos);
  request.memory = gib(72);
  const auto wide = place(request, xeon, {}, {});
  CHECK(line(wide) == "-,-,-,- | own  | emulator 0-143 | 0+1:72G of 2M | 1x1x4x1");
  CHECK(noted(wide, "the VM crosses nodes 0,1"));
  request.memory = gib(1);
  const auto many = place(request, machine("single-core"), {}, {});
  CHECK(line(many) == "-,-,-,- | own  | emulator 0 | 0:1G of 2M | 1x1x4x1");
  CHECK(noted(many, "4 vCPUs share the one CPU"));
  CHECK(placed(machine("single-core"), request, {{{"db", {0}, {}}}}) ==
        "cpu.count: every CPU of this host belongs to another VM");
  request.emulator = CpuSet{3, 4};
  CHECK(placed(xeon, request).find("emulator 3-4 ") != std::string::npos);
}

TEST_CASE("the emulator's CPUs") {
  const HostTopology laptop = machine("laptop-4c");
  auto request = vm(2, gib(1));
  request.emulator = CpuSet{1, 5};
  CHECK(placed(laptop, request) ==
        "2,6 | own 2,6 | emulator 1,5 | 0:1G of 2M | 1x1x1x2");  // and the vCPUs keep off them
  request.emulator = CpuSet{4, 99};
  CHECK(placed(laptop, request) == "cpu.emulator: this host has no CPU 99; it has 0-7");
  request.emulator = CpuSet{};
  CHECK(placed(laptop, request) == "cpu.emulator: no CPU; wanted at least one, or \"auto\"");
  request.emulator = CpuSet{1};
  CHECK(placed(laptop, request, {{{"db", {1, 5}, {}}}}) == "cpu.emulator: CPU 1 belongs to the VM db");
  auto listed = pinned_to({1, 5}, gib(1));
  listed.emulator = CpuSet{1};
  CHECK(noted(place(listed, laptop, {}, {}), "cpu.emulator shares CPUs 1 with vCPUs"));

  const HostTopology cloud = machine("cloud-2c");
  const auto spare = place(vm(1, gib(1)), cloud, {}, {});
  CHECK(line(spare) == "0 | own 0 | emulator 1 | 0:1G of 2M | 1x1x1x1");
  CHECK(noted(spare, "cpu.emulator = \"auto\" became 1: no housekeeping CPU; these are not exclusive"));
  auto both = vm(2, gib(1));
  both.own_cpus = true;
  const auto shared = place(both, cloud, {}, {});
  CHECK(line(shared) == "0,1 | own 0-1 | emulator 0-1 | 0:1G of 2M | 1x1x2x1");
  CHECK(noted(shared, "the emulator shares the vCPUs' CPUs"));
  // A node without housekeeping CPUs: those of the nearest.
  const auto far = place(pinned_to({20}, gib(1)), machine("rocky-2s"), {.housekeeping = CpuSet{0, 1}}, {});
  CHECK(line(far).find("emulator 0-1 ") != std::string::npos);
  CHECK(noted(far, "node 1 has no housekeeping CPU"));
}

TEST_CASE("iothreads and vhost workers go to the emulator's CPUs") {
  auto request = vm(2, gib(1));
  request.iothreads = 2;
  request.vhost_workers = 4;
  const auto result = place(request, machine("laptop-4c"), {}, {});
  REQUIRE(result);
  CHECK(result->iothreads == std::vector<CpuSet>{{0, 4}, {0, 4}});
  CHECK(result->vhost == CpuSet{0, 4});
  request.vhost_workers = 0;
  CHECK(place(request, machine("laptop-4c"), {}, {})->vhost.empty());
}

TEST_CASE("shortages are told together, per node, with who holds what") {
  const HostTopology xeon = machine("xeon-2s-144");
  const Reservations taken{{{"db", {1, 2, 73, 74}, {{0, mib(2), 512}}}, {"web", {37, 109}, {}}}};
  const auto result = place(vm(200, gib(1000)), xeon, {}, taken);
  REQUIRE_FALSE(result);
  REQUIRE(result.error().size() == 2);
  const Unplaceable& cores = result.error()[0];
  CHECK(cores.key == "cpu.count");
  CHECK(cores.what == "200 vCPUs need 100 whole free cores (2 threads each); 67 are free");
  CHECK(cores.nodes ==
        std::vector<NodeShortage>{{0, "free cores", "33", "100", "held by db (1-2,73-74), housekeeping 0,72"},
                                  {1, "free cores", "34", "100", "held by web (37,109), housekeeping 36,108"}});
  CHECK(cores.help == "set count = 134, stop a VM, or set pin = \"off\" to share CPUs");
  CHECK(result.error()[1].key == "memory.size");
  auto request = vm(3, gib(4));
  request.page = gib(1);
  request.nodes = {1};
  request.may_reserve_pages = false;
  const auto pages = place(request, xeon, {}, {{{"db", {}, {{1, gib(1), 4}}}}});
  REQUIRE_FALSE(pages);
  REQUIRE(pages.error().size() == 1);
  CHECK(pages.error()[0].key == "memory.page");
  CHECK(pages.error()[0].nodes == std::vector<NodeShortage>{{1, "free 1G pages", "0", "4", "held by db (4)"}});
  CHECK(pages.error()[0].help ==
        "reserve more at boot (hugepagesz=1G hugepages=1:8), run as root so that pages can be added, set page = "
        "\"4K\", leave out memory.nodes, or stop a VM");
}

TEST_CASE("neither alone is short, but no node has both") {
  HostTopology host = synthetic("pack:2 [numa] l3:1 core:4 pu:1");
  host.nodes[0].memory_free = mib(512);  // nothing to give
  const auto result = place(vm(3, gib(60)), host, {}, {{{"db", {5, 6, 7}, {}}}});
  REQUIRE_FALSE(result);
  CHECK(line(result) ==
        "cpu.count: no node, nor several together, have both the cores for 3 vCPUs and 60G of memory in pages of 4K");
  CHECK(result.error()[0].nodes.size() == 4);
}

TEST_CASE("requests that make no sense") {
  const HostTopology host = machine("laptop-4c");
  CHECK(placed(host, vm(0, gib(1))) == "cpu.count: 0 vCPUs; wanted 1 to 65536");
  CHECK(placed(host, vm(4'000'000'000u, gib(1))) == "cpu.count: 4000000000 vCPUs; wanted 1 to 65536");
  CHECK(placed(host, vm(1, {})) == "memory.size: no memory; wanted more than 0");
  CHECK(placed(host, vm(0, {})) ==
        "cpu.count: 0 vCPUs; wanted 1 to 65536 / memory.size: no memory; wanted more than 0");
}
