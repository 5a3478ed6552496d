// Machines read: synthetic, hwloc XML, the machine under test, and kernel trees of our own.
#include "topology/read_host.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "tests/topology/machines.hpp"
#include "tests/topology/scratch.hpp"
#include "tests/topology/trees.hpp"
#include "topology/in_child.hpp"

using namespace topology;

namespace {

struct TreeCpu {
  unsigned cpu, core, package;
  std::string siblings, package_cpus;
};

// The part of /sys and /proc that the reader looks at.
void write_cpus(const Scratch& tree, const std::vector<TreeCpu>& cpus, std::string_view online,
                std::string_view present) {
  const std::string base = "/sys/devices/system/cpu";
  tree.write(base + "/online", std::string(online) + "\n");
  tree.write(base + "/possible", std::string(present) + "\n");
  tree.write(base + "/present", std::string(present) + "\n");
  tree.write("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Test CPU\n");
  tree.write("/proc/meminfo",
             "MemTotal:        8388608 kB\nMemFree:         4194304 kB\nInactive(file):  1048576 kB\nDirty:            "
             "   512 kB\n");
  const auto mask = [](const std::string& list) {
    unsigned value = 0;
    for (const unsigned cpu : CpuSet::parse(list)->to_vector()) value |= 1u << cpu;
    return fmt::format("{:08x}\n", value);
  };
  for (const TreeCpu& cpu : cpus) {
    const std::string at = fmt::format("{}/cpu{}/topology", base, cpu.cpu);
    tree.write(at + "/core_id", fmt::format("{}\n", cpu.core));
    tree.write(at + "/physical_package_id", fmt::format("{}\n", cpu.package));
    tree.write(at + "/thread_siblings", mask(cpu.siblings));
    tree.write(at + "/core_cpus", mask(cpu.siblings));
    tree.write(at + "/core_siblings", mask(cpu.package_cpus));
    tree.write(at + "/package_cpus", mask(cpu.package_cpus));
  }
}

void write_node(const Scratch& tree, unsigned id, unsigned mask, std::string_view distances, unsigned free_gib,
                unsigned pages_2m) {
  const std::string at = fmt::format("/sys/devices/system/node/node{}", id);
  tree.write(at + "/cpumap", fmt::format("{:08x}\n", mask));
  tree.write(at + "/distance", std::string(distances) + "\n");
  tree.write(
      at + "/meminfo",
      fmt::format("Node {0} MemTotal:       {1} kB\nNode {0} MemFree:        {2} kB\nNode {0} Dirty:          100 kB\n"
                  "Node {0} Writeback:      24 kB\nNode {0} Inactive:       999 kB\nNode {0} Inactive(file): 1148 kB\n",
                  id, 16u << 20, free_gib << 20));
  tree.write(at + "/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
  tree.write(at + "/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
  tree.write(at + "/hugepages/hugepages-2048kB/nr_hugepages", fmt::format("{}\n", pages_2m));
  tree.write(at + "/hugepages/hugepages-2048kB/free_hugepages", fmt::format("{}\n", pages_2m / 2));
}

std::string error(const std::expected<HostTopology, std::string>& host) { return host ? "no error" : host.error(); }

}  // namespace

TEST_CASE("synthetic machines") {
  const HostTopology host = synthetic("pack:2 [numa] l3:2 core:4 pu:2");
  CHECK(host.pus.size() == 32);
  CHECK(host.pus[0] == Pu{0, 0, 0, 0, 0, 0});
  CHECK(host.pus[1] == Pu{1, 0, 0, 0, 0, 0});
  CHECK(host.pus[31] == Pu{31, 15, 3, 1, 1, 0});
  REQUIRE(host.nodes.size() == 2);
  CHECK(host.nodes[1].memory_total == gib(64));
  CHECK(host.nodes[1].memory_free == gib(64));
  CHECK(host.nodes[1].pools == std::vector<HugePagePool>{{mib(2), 0, 0}, {gib(1), 0, 0}});
  CHECK(host.threads_per_core() == 2);
  CHECK(host.base_page == kib(4));
}

TEST_CASE("synthetic machines without some level") {
  CHECK(synthetic("pu:1").pus == std::vector<Pu>{{0, 0, 0, 0, 0, 0}});
  const HostTopology no_l3 = synthetic("pack:2 numa:1 core:4 pu:2");  // no cache known: a package is one group
  CHECK(no_l3.pu(7)->l3 == 0);
  CHECK(no_l3.pu(8)->l3 == 1);
  const HostTopology l2_only = synthetic("pack:1 l2:2 core:4 pu:1");
  CHECK(l2_only.pu(3)->l3 == 0);
  CHECK(l2_only.pu(4)->l3 == 1);
  CHECK(l2_only.nodes.size() == 1);
  const HostTopology sized = synthetic("pack:1 [numa(memory=3221225472)] core:2 pu:1");
  CHECK(sized.nodes[0].memory_total == gib(3));
  const HostTopology smt4 = synthetic("pack:1 [numa] l3:1 core:2 pu:4");
  CHECK(smt4.threads_per_core() == 4);
  CHECK(smt4.cpus_of_core(1).to_string() == "4-7");
}

TEST_CASE("the large machine is the one in tests/hosts") {
  CHECK(synthetic("pack:8 [numa] l3:16 core:16 pu:2") == machine("synthetic-8n-4096"));
}

TEST_CASE("what --host means") {
  CHECK(error(read_host_argument("synthetic:core:0")) ==
        "\"core:0\" is not a synthetic description hwloc can read (as in \"pack:2 [numa] l3:1 core:4 pu:2\")");
  CHECK(read_host_argument("synthetic:core:2 pu:1")->pus.size() == 2);
  CHECK(error(read_host_argument("/none")) == "cannot read /none: No such file or directory");
  const Scratch scratch;
  scratch.write("/bad.json", "{}");
  scratch.write("/bad.xml", "  \n<nothing/>");
  scratch.write("/empty", "");
  scratch.write("/bare.json", to_json(machine("laptop-4c")));
  const auto at = [&scratch](const char* name) { return (scratch.root() / name).string(); };
  CHECK(error(read_host_argument(at("bad.json"))) == at("bad.json") + ": version is missing");
  CHECK_FALSE(read_host_argument(at("bad.xml")));
  CHECK_FALSE(read_host_argument(at("empty")));
  CHECK_FALSE(read_host_argument(scratch.root().string()));
  CHECK(read_host_argument(at("bare.json")) == machine("laptop-4c"));
}

TEST_CASE("an hwloc XML export of a real machine") {
  const auto host = read_host_argument(std::string(VMRUN_TESTS) + "/hosts/this-machine.xml");
  REQUIRE_MESSAGE(host, error(host));
  CHECK(host->cpu_vendor == "AuthenticAMD");
  CHECK(host->cpu_model == "AMD EPYC");
  CHECK(host->pus == std::vector<Pu>{{0, 0, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0}});
  REQUIRE(host->nodes.size() == 1);
  CHECK(host->nodes[0].memory_total.count > 0);
  CHECK(host->nodes[0].memory_free == host->nodes[0].memory_total);
  CHECK(host->nodes[0].pools == std::vector<HugePagePool>{{mib(2), 0, 0}, {gib(1), 0, 0}});
  REQUIRE(host->devices.size() >= 1);
  CHECK(host->devices[0].address == "0000:00:02.0");
  CHECK(host->devices[0].os_devices == std::vector<std::string>{"vda"});
  CHECK(host_from_json(to_json(*host)) == host);
}

TEST_CASE("this machine") {
  const auto host = read_this_host(Devices::read);
  REQUIRE_MESSAGE(host, error(host));
  CHECK(host->pus.size() >= 1);
  CHECK(host->nodes.size() >= 1);
  CHECK(host->nodes[0].memory_total.count > 0);
  CHECK(host->nodes[0].memory_free <= host->nodes[0].memory_total);
  for (std::size_t i = 1; i < host->pus.size(); ++i) CHECK(host->pus[i - 1].cpu < host->pus[i].cpu);
  for (const Pu& pu : host->pus) CHECK(host->node(pu.node) != nullptr);
  CHECK(host_from_json(to_json(*host)) == host);
  const auto bare = read_this_host(Devices::skip);
  REQUIRE(bare);
  CHECK(bare->devices.empty());
  CHECK(bare->pus == host->pus);
}

TEST_CASE("another root: two nodes, one offline sibling, a node without CPUs") {
  const Scratch tree;
  write_cpus(tree,
             {{0, 0, 0, "0,4", "0-1,4-5"},
              {1, 1, 0, "1,5", "0-1,4-5"},
              {2, 0, 1, "2,6", "2-3,6"},
              {3, 1, 1, "3", "2-3,6"},
              {4, 0, 0, "0,4", "0-1,4-5"},
              {5, 1, 0, "1,5", "0-1,4-5"},
              {6, 0, 1, "2,6", "2-3,6"}},
             "0-6", "0-7");
  tree.write("/sys/devices/system/node/online", "0-2\n");
  tree.write("/sys/devices/system/node/possible", "0-2\n");
  tree.write("/sys/devices/system/cpu/isolated", "1,5\n");
  tree.write("/etc/machine-id", "b08dfa6083e7567a1921a715000001fb\n");
  write_node(tree, 0, 0x33, "10 21 30", 8, 64);
  write_node(tree, 1, 0x4c, "21 10 31", 6, 0);
  write_node(tree, 2, 0, "30 31 10", 16, 0);
  const auto host = read_this_host(Devices::skip, Sysfs(tree.root()));
  REQUIRE_MESSAGE(host, error(host));
  CHECK(host->all_cpus().to_string() == "0-6");
  CHECK(host->cpus_of_core(host->pu(0)->core).to_string() == "0,4");
  CHECK(host->cpus_of_core(host->pu(3)->core).to_string() == "3");
  CHECK(host->cpus_of_node(0).to_string() == "0-1,4-5");
  CHECK(host->cpus_of_node(1).to_string() == "2-3,6");
  CHECK(host->cpus_of_node(2).empty());
  CHECK(host->pu(2)->package == 1);
  CHECK(host->isolated == CpuSet{1, 5});
  CHECK(host->own_id.size() == 36);  // made from the machine-id, and not that itself
  CHECK(host->own_id.find("b08dfa60") == std::string::npos);
  CHECK(host_from_json(to_json(*host))->own_id == host->own_id);
  tree.write("/etc/machine-id", "uninitialized\n");
  CHECK(read_this_host(Devices::skip, Sysfs(tree.root()))->own_id.empty());
  REQUIRE(host->nodes.size() == 3);
  CHECK(host->nodes[0].distances == std::vector<unsigned>{10, 21, 30});
  CHECK(host->distance(1, 2) == 31);
  CHECK(host->nodes[0].memory_total == gib(16));
  CHECK(host->nodes[0].memory_free ==
        gib(8) + mib(1));  // plus 1148 kB of inactive file pages, 124 kB of them not clean
  CHECK(host->nodes[0].pools == std::vector<HugePagePool>{{mib(2), 64, 32}, {gib(1), 0, 0}});
}

TEST_CASE("another root: a kernel without NUMA") {
  const Scratch tree;
  write_cpus(tree, {{0, 0, 0, "0", "0-1"}, {1, 1, 0, "1", "0-1"}}, "0-1", "0-1");
  tree.write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "12\n");
  tree.write("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n");
  const auto host = read_this_host(Devices::skip, Sysfs(tree.root()));
  REQUIRE_MESSAGE(host, error(host));
  CHECK(host->pus == std::vector<Pu>{{0, 0, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0}});
  REQUIRE(host->nodes.size() == 1);
  CHECK(host->nodes[0].id == 0);
  CHECK(host->nodes[0].memory_total == gib(8));
  CHECK(host->nodes[0].memory_free == gib(5) - kib(512));
  CHECK(host->nodes[0].pools == std::vector<HugePagePool>{{mib(2), 12, 3}});
  CHECK(host->isolated.empty());
}

TEST_CASE("hwloc XML that cannot be read, and that means harm") {
  const Scratch scratch;
  const auto at = [&scratch](const char* name) { return (scratch.root() / name).string(); };
  scratch.write("/three.xml", "<?xml version=\"1.0\"?>\n<topology version=\"3.0\">\n</topology>\n");
  CHECK(error(read_host_argument(at("three.xml"))) ==
        at("three.xml") +
            " is hwloc XML of version 3.0, this vmrun reads 2.x: export it again with `lstopo --export-xml-flags v2 "
            "FILE.xml`");
  scratch.write("/other.xml", "<nothing/>");
  CHECK(error(read_host_argument(at("other.xml"))) == at("other.xml") + " is not an hwloc XML export");
  std::string broken = text_of(std::string(VMRUN_TESTS) + "/hosts/this-machine.xml");
  const auto attribute = broken.find(" complete_cpuset=");  // without it libhwloc 2.9 follows a null pointer
  REQUIRE(attribute != broken.npos);
  broken.erase(attribute, broken.find('"', attribute + 18) + 1 - attribute);
  scratch.write("/broken.xml", broken);
  const std::string refusal = error(read_host_argument(at("broken.xml")));
  CHECK_MESSAGE((refusal == at("broken.xml") + " is broken: libhwloc ended by signal 11 over it" ||
                 refusal == at("broken.xml") + " is not an hwloc XML export"),
                refusal);  // a later hwloc may say so itself
}

TEST_CASE("work in a child may die") {
  CHECK(in_child([] { return std::string(100000, 'x'); }) == std::string(100000, 'x'));
  CHECK(in_child([]() -> std::expected<std::string, std::string> { return std::unexpected("no"); }).error() == "no");
  CHECK(in_child([]() -> std::expected<std::string, std::string> { ::_exit(3); }).error() == "said nothing");
  CHECK(in_child([]() -> std::expected<std::string, std::string> {
          ::raise(SIGSEGV);
          return "";
        }).error() == "ended by signal 11");
}

TEST_CASE("variables that would give hwloc another machine change nothing") {
  const auto before = read_this_host(Devices::skip);
  REQUIRE(before);
  ::setenv("HWLOC_SYNTHETIC", "pack:3 core:5 pu:1", 1);
  ::setenv("HWLOC_XMLFILE", "/none", 1);
  const auto after = read_this_host(Devices::skip);
  const auto described = read_synthetic("pack:2 core:2 pu:1");
  CHECK(std::string(::getenv("HWLOC_SYNTHETIC")) == "pack:3 core:5 pu:1");  // the caller's stays
  ::unsetenv("HWLOC_SYNTHETIC");
  ::unsetenv("HWLOC_XMLFILE");
  REQUIRE_MESSAGE(after, error(after));
  CHECK(after->pus == before->pus);
  REQUIRE(described);
  CHECK(described->pus.size() == 4);
}
