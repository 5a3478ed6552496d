// What is left over: housekeeping by default, CPUs, pages and memory after other VMs' claims.
#include "topology/reservations.hpp"

#include <doctest/doctest.h>

#include "tests/topology/machines.hpp"

using namespace topology;

TEST_CASE("the first core of each node with more than two is housekeeping") {
  CHECK(default_housekeeping(machine("xeon-2s-144")).to_string() == "0,36,72,108");
  CHECK(default_housekeeping(machine("epyc-8n-16l3")).to_string() ==
        "0,8,16,24,32,40,48,56,64,72,80,88,96,104,112,120");
  CHECK(default_housekeeping(machine("hybrid-8p8e")).to_string() == "0-1");
  CHECK(default_housekeeping(machine("laptop-4c")).to_string() == "0,4");
  CHECK(default_housekeeping(machine("rocky-2s")).to_string() == "0,16");
  CHECK(default_housekeeping(machine("cloud-2c")).empty());
  CHECK(default_housekeeping(machine("single-core")).empty());
  CHECK(default_housekeeping(synthetic("pack:2 [numa] core:2 pu:2")).empty());
  CHECK(default_housekeeping(synthetic("pack:2 [numa] core:3 pu:1")).to_string() == "0,3");
}

TEST_CASE("free CPUs: all but housekeeping and other VMs'") {
  const HostTopology host = machine("laptop-4c");
  const Reservations taken{{{"db", {1, 5}, {}}, {"web", {2}, {}}}};
  CHECK(taken.cpus() == CpuSet{1, 2, 5});
  CHECK(taken.owner_of(5) == "db");
  CHECK(taken.owner_of(2) == "web");
  CHECK_FALSE(taken.owner_of(3));
  CHECK(free_cpus(host, {}, taken) == CpuSet{3, 6, 7});
  CHECK(free_cpus(host, {.housekeeping = CpuSet{}}, taken) == CpuSet{0, 3, 4, 6, 7});
  CHECK(free_cpus(host, {.housekeeping = CpuSet{7}}, {}) == CpuSet{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("a page is not promised twice, touched or not") {
  HostTopology host = machine("laptop-4c");
  host.nodes[0].pools = {{mib(2), 100, 60}};
  host.nodes[0].memory_total = gib(1);
  host.nodes[0].memory_free = mib(800);
  CHECK(free_pages(host, 0, mib(2), {}) == 60);
  CHECK(free_pages(host, 0, gib(1), {}) == 0);
  CHECK(free_pages(host, 7, mib(2), {}) == 0);
  const auto claims = [](std::uint64_t pages, Bytes page) { return Reservations{{{"db", {}, {{0, page, pages}}}}}; };
  CHECK(free_pages(host, 0, mib(2), claims(40, mib(2))) == 60);  // those 40 are the ones in use
  CHECK(free_pages(host, 0, mib(2), claims(70, mib(2))) == 30);  // 30 of them are not touched yet
  CHECK(free_pages(host, 0, mib(2), claims(170, mib(2))) == 0);
  CHECK(free_memory(host, 0, {}) == mib(800));
  CHECK(free_memory(host, 0, claims(40, mib(2))) == mib(800));
  CHECK(free_memory(host, 0, claims(412, mib(2))) == mib(200));     // 1G - 824M
  CHECK(free_memory(host, 0, claims(131072, kib(4))) == mib(312));  // 1G - 200M of pool - 512M
  CHECK(free_memory(host, 0, claims(1u << 20, kib(4))) == Bytes{});
  CHECK(free_memory(host, 7, {}) == Bytes{});
}
