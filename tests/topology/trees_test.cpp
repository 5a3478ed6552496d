// Machines nobody here has, read through the live path and held to what their kernel files say.
#include "tests/topology/trees.hpp"

#include <set>

#include "tests/topology/machines.hpp"
#include "tests/topology/sysfs_truth.hpp"
#include "topology/read_host_now.hpp"

using namespace topology;

namespace {

std::set<unsigned> as_set(const CpuSet& cpus) {
  const auto all = cpus.to_vector();
  return {all.begin(), all.end()};
}

std::string kinds_of(const HostTopology& host) {
  std::string text;
  for (unsigned kind = 0; kind < host.kinds(); ++kind) {
    CpuSet cpus;
    for (const Pu& pu : host.pus)
      if (pu.kind == kind) cpus.add(pu.cpu);
    text += (text.empty() ? "" : ", ") + host.kind_name(kind) + " " + cpus.to_string();
  }
  return text;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : " / ") + line;
  return text;
}

}  // namespace

TEST_CASE("what was read once is read again without hwloc, and is the same") {
  for (const std::string& name : tree_names()) {
    CAPTURE(name);
    if (!read_tree(name) || read_tree(name)->pus.size() > 64)
      continue;  // the larger ones were seen to hold, too, and take half a minute
    const Scratch scratch;
    topology::unpack_capture(tree_files(name), scratch.root());
    const topology::Sysfs sysfs(scratch.root());
    const auto host = topology::read_this_host(topology::Devices::skip, sysfs);
    REQUIRE(host);
    const auto kept = topology::host_from_json(to_json(*host));
    REQUIRE(kept);
    CHECK(topology::read_again(*kept, sysfs) == *host);
    if (host->pus.size() < 2) continue;
    const std::string key = topology::shape_key(sysfs);
    scratch.write("/sys/devices/system/cpu/online", "0\n");
    CHECK(!topology::read_again(*kept, sysfs));
    CHECK(topology::shape_key(sysfs) != key);
  }
}

TEST_CASE("each node's CPUs, each core's and each L3's are the kernel's, on every tree") {
  CHECK(tree_names().size() >= 42);
  CHECK(older_captures().size() >= 6);
  std::vector<std::string> names = tree_names();
  for (const std::string& name : older_captures()) names.push_back(name);
  for (const std::string& name : names) {
    CAPTURE(name);
    const auto files = tree_files(name);
    const SysfsTruth truth(files);
    const auto& read = read_tree(name);
    REQUIRE_MESSAGE(read, (name + (read ? "" : ": " + read.error())));
    const HostTopology& host = *read;
    CHECK(as_set(host.all_cpus()) == truth.online);
    CHECK(host.nodes.size() == truth.nodes.size());
    std::set<unsigned> on_some;
    for (const auto& [id, cpus] : truth.nodes) on_some.insert(cpus.begin(), cpus.end());
    for (const auto& [id, cpus] : truth.nodes) {
      CAPTURE(id);
      REQUIRE(host.node(id) != nullptr);
      CHECK(host.node(id)->memory_total.count == truth.memory_kib.at(id) << 10);
      std::set<unsigned> here;
      for (const unsigned cpu : host.cpus_of_node(id).to_vector())
        if (on_some.contains(cpu)) here.insert(cpu);
      CHECK(here == cpus);
    }
    for (const unsigned cpu : truth.online) {
      const Pu& pu = *host.pu(cpu);
      CHECK(as_set(host.cpus_of_core(pu.core)) == truth.siblings.at(cpu));
      if (truth.l3.contains(cpu)) CHECK(as_set(host.cpus_of_l3(pu.l3)) == truth.l3.at(cpu));
    }
    CHECK(as_set(host.isolated) == truth.isolated);
    CHECK(host_from_json(to_json(host)) == read);
  }
}

TEST_CASE("described machines: nodes that cut a package or an L3") {
  const HostTopology snc = synthetic("pack:2 group:4 [numa] l3:2 core:4 pu:2");
  REQUIRE(snc.nodes.size() == 8);
  for (unsigned node = 0; node < 8; ++node) CHECK(snc.cpus_of_node(node) == CpuSet::range(16 * node, 16 * node + 15));
  const HostTopology pairs = synthetic("group:2 [numa] pack:2 l3:1 core:2 pu:1");
  CHECK(pairs.cpus_of_node(0).to_string() == "0-3");
  CHECK(pairs.cpus_of_node(1).to_string() == "4-7");
  const HostTopology dies = synthetic("pack:2 die:2 [numa] l3:1 core:2 pu:1");
  CHECK(dies.cpus_of_node(3).to_string() == "6-7");
}

TEST_CASE("a map that the kernel contradicts is refused") {
  const Scratch scratch;
  unpack_capture(tree_files("snc2"), scratch.root());
  const Sysfs sysfs(scratch.root());
  HostTopology host = tree("snc2");
  CHECK(contradiction(sysfs, host) == std::nullopt);
  HostTopology wrong = host;
  for (Pu& pu : wrong.pus)
    if (pu.node == 1) pu.node = 0;
  CHECK(contradiction(sysfs, wrong).value_or("").starts_with("node 1 has CPUs  by hwloc, but 10-19,50-59 by "));
  wrong = host;
  wrong.pus[40].core = 7;
  CHECK(contradiction(sysfs, wrong).value_or("").starts_with("the core of CPU 0 has CPUs 0 by hwloc, but 0,40 by "));
  wrong = host;
  wrong.pus.pop_back();
  CHECK(contradiction(sysfs, wrong).value_or("").starts_with("this host has CPUs 0-78 by hwloc, but 0-79 by "));
  // and the reader asks: CPU 0 says that its sibling is another than its mask says
  scratch.write("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n");
  const auto refused = read_this_host(Devices::skip, sysfs);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().find("nothing is placed by a map that the kernel contradicts") != std::string::npos);
}

TEST_CASE("kinds of cores are what the cores are") {
  CHECK(kinds_of(tree("three-kinds")) == "low-power cores 20-21, E-cores 12-19, P-cores 0-11");
  CHECK(kinds_of(tree("low-power-die")) == "low-power cores 20-21, E-cores 12-19, P-cores 0-11");
  CHECK(kinds_of(tree("low-power-only")) ==
        "E-cores 4-7, P-cores 0-3");  // low-power ones are told by the others beside them
  CHECK(kinds_of(tree("dense")) == "dense cores 4-11,16-23, fast cores 0-3,12-15");
  for (const char* name :
       {"17-ranks", "x3d", "sst-bf", "smt4", "smt8", "grace", "no-caches", "nohz-full", "offline-siblings", "snc4"}) {
    CAPTURE(name);
    CHECK(tree(name).kinds() == 1);
    CHECK(tree(name).kind_name(0) == "cores");
  }
  CHECK(tree("x3d").caches == std::vector<Cache>{{0, mib(96)}, {1, mib(32)}});
}

TEST_CASE("what this process was allowed") {
  const Allowed v2 = tree("cpuset-v2").allowed;
  CHECK(v2.cpus == CpuSet{12, 13, 14, 15, 28, 29, 30, 31});
  CHECK(v2.nodes == CpuSet{1});
  CHECK(v2.memory == gib(24));  // the gigabyte in use is clean cache
  CHECK(joined(v2.by) ==
        "CPUs 12-15,28-31: the cpuset of cgroup /batch/7 / memory of nodes 1: a cpuset's mems (AllowedMemoryNodes=) / "
        "24G of memory in base pages: memory.max of cgroup /batch/7, less what it uses");
  CHECK_FALSE(v2.huge_pages_count);
  const Allowed counted = tree("huge-pages-count").allowed;
  CHECK(counted.memory == gib(6));
  CHECK(counted.huge_pages_count);
  CHECK(joined(counted.by) ==
        "6G of memory in base and huge pages: memory.max of cgroup /system.slice/vm.service, less what it uses");
  const Allowed unit = tree("hugetlb-v2").allowed;
  CHECK(unit.pages == std::vector<PageLimit>{{mib(2), gib(3)}, {gib(1), {}}});
  CHECK(joined(unit.by) ==
        "3G of pages of 2M: hugetlb.2MB.max of cgroup /vms.slice, less what it uses / "
        "0 of pages of 1G: hugetlb.1GB.max of cgroup /vms.slice/a.service, less what it uses");
  const Allowed job = tree("hugetlb-v1").allowed;
  CHECK(job.pages == std::vector<PageLimit>{{mib(2), gib(3)}});
  CHECK(joined(job.by) == "3G of pages of 2M: hugetlb.2MB.rsvd.limit_in_bytes of cgroup /job/7, less what it uses");
  const Allowed v1 = tree("cpuset-v1").allowed;
  CHECK(v1.cpus == CpuSet{2, 3, 18, 19});
  CHECK(v1.nodes == CpuSet{0});
  CHECK(v1.memory == gib(8));
  const Allowed bound = tree("numactl").allowed;
  CHECK(bound.cpus == (CpuSet::range(8, 15) | CpuSet::range(24, 31)));
  CHECK(bound.nodes == CpuSet{1});
  CHECK(joined(bound.by) ==
        "CPUs 8-15,24-31: the affinity mask (taskset, numactl -N, CPUAffinity=, a cpuset) / memory of nodes 1: the "
        "memory policy (numactl -m)");
  CHECK(tree("cpuset-halves").allowed.cpus == CpuSet::range(0, 15));
  CHECK(tree("isolcpus").allowed == Allowed{});  // the kernel's own mask is nobody's will
  CHECK(tree("isolated-node").allowed == Allowed{});
  CHECK(tree("snc4").allowed == Allowed{});
}
