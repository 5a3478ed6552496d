// HostTopology: its questions, JSON both ways, and JSON that means harm.
#include "topology/host_topology.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "tests/topology/machines.hpp"

using namespace topology;

namespace {

std::string error(std::string_view json) {
  const auto host = host_from_json(json);
  return host ? "no error" : host.error();
}

// A host with one member replaced or added.
std::string with(std::string_view members) {
  return R"({"version": 1, "cores": [{"core": 0, "cpus": "0", "l3": 0}], "nodes": [{"id": 0}], "base_page": 4096)" +
         (members.empty() ? "" : ", " + std::string(members)) + "}";
}

std::string with_core(std::string_view core) {
  return R"({"version": 1, "base_page": 4096, "nodes": [{"id": 0}], "cores": [)" + std::string(core) + "]}";
}
std::string with_node(std::string_view node) {
  return R"({"version": 1, "base_page": 4096, "cores": [{"core": 0, "cpus": "0", "l3": 0}], "nodes": [)" +
         std::string(node) + "]}";
}

}  // namespace

TEST_CASE("questions to a 2-socket Xeon") {
  const HostTopology host = machine("xeon-2s-144");
  CHECK(host.all_cpus() == CpuSet::range(0, 143));
  CHECK(host.cpus_of_node(0).to_string() == "0-35,72-107");
  CHECK(host.cpus_of_node(1).to_string() == "36-71,108-143");
  CHECK(host.cpus_of_node(2).empty());
  CHECK(host.cpus_of_core(35).to_string() == "35,107");
  CHECK(host.cpus_of_l3(1) == host.cpus_of_node(1));
  CHECK(host.threads_per_core() == 2);
  CHECK(host.kinds() == 1);
  REQUIRE(host.pu(143));
  CHECK(*host.pu(143) == Pu{143, 71, 1, 1, 1, 0});
  CHECK(host.pu(144) == nullptr);
  REQUIRE(host.node(1));
  CHECK(to_string(host.node(1)->memory_free) == "5288M");
  CHECK(host.node(2) == nullptr);
  REQUIRE(host.pool(0, gib(1)));
  CHECK(host.pool(0, gib(1))->free == 8);
  CHECK(host.pool(0, mib(4)) == nullptr);
  CHECK(host.pool(9, gib(1)) == nullptr);
  CHECK(host.distance(0, 1) == 20);
  CHECK(host.distance(1, 1) == 10);
  CHECK(host.distance(0, 9) == 20);
  CHECK(host.distance(9, 0) == 20);
}

TEST_CASE("questions to others") {
  const HostTopology epyc = machine("epyc-8n-16l3");
  CHECK(epyc.distance(0, 3) == 12);
  CHECK(epyc.distance(3, 4) == 32);
  CHECK(epyc.cpus_of_l3(15).to_string() == "60-63,124-127");
  const HostTopology hybrid = machine("hybrid-8p8e");
  CHECK(hybrid.kinds() == 2);
  CHECK(hybrid.threads_per_core() == 2);
  CHECK(hybrid.pu(15)->kind == 1);
  CHECK(hybrid.pu(16)->kind == 0);
  CHECK(HostTopology{}.threads_per_core() == 1);
  CHECK(HostTopology{}.kinds() == 1);
}

TEST_CASE("JSON comes back as it went") {
  for (const char* name : {"xeon-2s-144", "epyc-8n-16l3", "hybrid-8p8e", "laptop-4c", "rocky-2s", "c5n-metal",
                           "cloud-2c", "single-core", "synthetic-8n-4096"}) {
    CAPTURE(name);
    const HostTopology host = machine(name);
    const std::string text = to_json(host);
    CHECK(host_from_json(text) == host);
    CHECK(host_from_json("{\"host\": " + text + "}") == host);
    std::ifstream file(std::string(VMRUN_TESTS) + "/hosts/" + name + ".json");
    const std::string stored{std::istreambuf_iterator<char>(file), {}};
    CHECK("{\"host\": " + text + "}\n" == stored);  // the files are what we would write
  }
  HostTopology odd;
  odd.cpu_model = "quote \" back\\slash \n \xc3\xa9";
  odd.pus = {{3, 9, 7, 2, 4, 1}, {4, 9, 6, 2, 4, 1}, {90, 1000, 0, 0, 7, 0}};
  odd.nodes = {{4, gib(3), gib(2), {{mib(2), 5, 3}, {gib(1), 1, 0}}, {10, 99}}, {7, {}, {}, {}, {}}};
  odd.devices = {{"0000:31:00.0", "", "0200", -1, {}}, {"0001:31:00.0", "a \"b\"", "", 4, {"eth0", "ib0"}}};
  odd.isolated = {3, 90};
  odd.base_page = kib(64);
  CHECK(host_from_json(to_json(odd)) == odd);
}

TEST_CASE("the JSON of a large machine is compact") {
  const std::string text = to_json(machine("synthetic-8n-4096"));
  CHECK(text.size() < 200'000);
}

TEST_CASE("bad JSON is refused, and says where") {
  CHECK(error(with("")) == "no error");
  CHECK(error("").starts_with("not JSON: "));
  CHECK(error("{").starts_with("not JSON: "));
  CHECK(error("[]") == "the host is not a JSON object");
  CHECK(error("{\"host\": 3}") == "the host is not a JSON object");
  CHECK(error("{}") == "version is missing");
  CHECK(error("{\"version\": 2}") == "version is 2, this vmrun reads version 1");
  CHECK(error("{\"version\": \"1\"}") == "version is not a whole number of zero or more");
  CHECK(error("{\"version\": 1}") == "cores names no CPU");
  CHECK(error(with_core(R"({"core": 0, "cpus": "0", "l3": 0})")) == "no error");
  CHECK(error(R"({"version": 1, "cores": [{"core": 0, "cpus": "0", "l3": 0}]})") == "nodes is empty");
  CHECK(error(with("\"cores\": 3")) == "cores is not an array");
  CHECK(error(with("\"isolated\": \"x\"")) == "isolated \"x\" is not a CPU number");
  CHECK(error(with("\"cpu\": 1")) == "cpu is not an object");
  CHECK(error(with("\"devices\": [{\"node\": -2}]")) == "devices[0].node is not a whole number of zero or more");
  CHECK(error(with("\"devices\": [{\"os_devices\": [1]}]")) ==
        "devices[0].os_devices holds something that is not a string");
  CHECK(error(with_core("3")) == "cores[0] is not an object");
  CHECK(error(with_core("{}")) == "cores[0].core is missing");
  CHECK(error(with_core(R"({"core": 0, "l3": 0})")) == "cores[0].cpus is empty");
  CHECK(error(with_core(R"({"core": -1, "cpus": "0", "l3": 0})")) ==
        "cores[0].core is not a whole number of zero or more");
  CHECK(error(with_core(R"({"core": 1.5, "cpus": "0", "l3": 0})")) ==
        "cores[0].core is not a whole number of zero or more");
  CHECK(error(with_core(R"({"core": 99999999, "cpus": "0", "l3": 0})")) ==
        "cores[0].core is 99999999, more than 1048576");
  CHECK(error(with_core(R"({"core": 0, "cpus": "0-65536", "l3": 0})")) ==
        "cores[0].cpus CPU number 65536 is too large (at most 65535)");
  CHECK(error(with_core(R"({"core": 0, "cpus": "0-1", "l3": 0}, {"core": 1, "cpus": "1", "l3": 0})")) ==
        "cores[1].cpus names CPU 1 a second time");
  CHECK(error(with_core(R"({"core": 0, "cpus": "0", "l3": 0, "node": 1})")) ==
        "cores puts CPU 0 on node 1, which nodes does not list");
  CHECK(error(with_node(R"({"id": 0}, {"id": 0})")) == "nodes is not in ascending order of id");
  CHECK(error(with_node(R"({"id": 0, "distances": [10, 20]})")) == "nodes gives node 0 2 distances for 1 nodes");
  CHECK(error(with_node(R"({"id": 0, "distances": ["10"]})")) ==
        "nodes[0].distances is not a whole number of zero or more");
  CHECK(error(with_node(R"({"id": 0, "memory_total": 18446744073709551615})")) ==
        "nodes[0].memory_total is 18446744073709551615, more than 72057594037927936");
  CHECK(error(with_node(R"({"id": 0, "pools": [{"page": 3}]})")) == "nodes[0].pools[0].page is not a power of two");
  CHECK(error(with_node(R"({"id": 0, "pools": [{"page": 0}]})")) == "nodes[0].pools[0].page is not a power of two");
  CHECK(error(with_node(R"({"id": 0, "pools": [{"page": 2097152, "total": 99999999999, "free": 0}]})")) ==
        "nodes[0].pools[0].total is 99999999999, more than 34359738368");
  CHECK(
      error(with_node(
          R"({"id": 0, "pools": [{"page": 2097152, "total": 0, "free": 0}, {"page": 4096, "total": 0, "free": 0}]})")) ==
      "nodes[0].pools[1].page is not larger than that of the pool before it");
  CHECK(error(std::string(100'000, '[')).starts_with("not JSON: "));
  CHECK(error("\xff\xfe").starts_with("not JSON: "));
}

TEST_CASE("no change of a few bytes makes the reader fall over") {
  const std::string good = to_json(machine("hybrid-8p8e"));
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    std::string text = good;
    for (unsigned i = 0; i <= random() % 4; ++i) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 20);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 20));
          break;
      }
    }
    if (const auto host = host_from_json(text)) CHECK(host_from_json(to_json(*host)) == host);
  }
}
