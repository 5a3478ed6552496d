// Six requests on each machine of tests/hosts/trees: the plans as they are written down in tests/topology/tree_plans.txt
// (VMRUN_UPDATE_GOLDEN=1 rewrites it), each judged by a reading of the kernel files that knows nothing of place().
#include <cstdlib>
#include <fstream>

#include "tests/topology/judge.hpp"
#include "tests/topology/placing.hpp"
#include "tests/topology/trees.hpp"

using namespace topology;

namespace {

std::set<unsigned> as_set(const CpuSet& cpus) {
  const auto all = cpus.to_vector();
  return {all.begin(), all.end()};
}

std::vector<std::pair<std::string, PlacementRequest>> requests() {
  auto isolated = vm(2, gib(2));
  isolated.siblings = Siblings::isolate;
  auto off = vm(4, gib(4));
  off.pinning = Pinning::off;
  auto device = vm(4, gib(4));
  device.device_nodes = {2};
  return {{"2 vCPUs", vm(2, gib(2))},
          {"6 vCPUs", vm(6, gib(8))},
          {"24 vCPUs", vm(24, gib(40))},
          {"isolate", isolated},
          {"off", off},
          {"device on node 2", device}};
}

JudgedPlan judged(const PlacementRequest& request, const Placement& p) {
  JudgedPlan plan;
  for (const VcpuSeat& seat : p.vcpus)
    if (seat.cpu) plan.vcpus.push_back(*seat.cpu);
  plan.own = as_set(p.exclusive);
  plan.emulator = as_set(p.emulator);
  for (const MemoryCell& cell : p.cells) plan.memory_nodes.insert(cell.host_nodes.begin(), cell.host_nodes.end());
  plan.product = p.guest.sockets * p.guest.dies * p.guest.cores * p.guest.threads;
  plan.wanted = request.vcpus;
  plan.explained = noted(p, "crosses nodes") || noted(p, "are served by node");
  return plan;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& one : lines) text += one + "; ";
  return text;
}

}  // namespace

TEST_CASE("plans on machines nobody here has") {
  std::string written;
  unsigned judgements = 0;
  for (const std::string& name : tree_names()) {
    const auto files = tree_files(name);
    const SysfsTruth truth(files);
    const auto& host = read_tree(name);
    REQUIRE_MESSAGE(host, name);
    written += name + "\n";
    for (const auto& [what, request] : requests()) {
      CAPTURE(name);
      CAPTURE(what);
      const PlaceResult result = place(request, *host, {}, {});
      CHECK(result == place(request, *host_from_json(to_json(*host)), {}, {}));  // the same again, from a report
      written += fmt::format("  {}: {}\n", what, line(result));
      if (!result) continue;
      ++judgements;
      const auto wrong = judge(truth, judged(request, *result));
      CHECK_MESSAGE(wrong.empty(), joined(wrong) << line(result));
      std::set<std::set<unsigned>> caches;
      for (const VcpuSeat& seat : result->vcpus)
        if (seat.cpu && truth.l3.contains(*seat.cpu)) caches.insert(truth.l3.at(*seat.cpu));
      const auto kept = as_set(default_housekeeping(*host) | (host->all_cpus() - host->allowed_cpus()));
      const unsigned node = result->cells[0].host_nodes[0];
      if (caches.size() > 1 && result->cells.size() == 1 && result->guest.threads == host->threads_per_core())
        CHECK_FALSE(one_l3_would_do(truth, node, kept, request.vcpus));
    }
  }
  CHECK(judgements > 100);
  const std::string file = std::string(VMRUN_TESTS) + "/topology/tree_plans.txt";
  if (std::getenv("VMRUN_UPDATE_GOLDEN") != nullptr) std::ofstream(file, std::ios::binary) << written;
  CHECK(text_of(file) == written);
}

TEST_CASE("the judge finds what is wrong") {
  const SysfsTruth truth(tree_files("2990wx"));
  const JudgedPlan good{.vcpus = {1, 33},
                        .own = {1, 33},
                        .emulator = {0, 32},
                        .memory_nodes = {0},
                        .product = 2,
                        .wanted = 2,
                        .explained = false};
  CHECK(judge(truth, good).empty());
  const auto says = [&](auto change) {
    JudgedPlan plan = good;
    change(plan);
    return joined(judge(truth, plan));
  };
  CHECK(says([](auto& p) { p.vcpus = {1, 1}; }).find("a CPU twice") != std::string::npos);
  CHECK(says([](auto& p) { p.own = {1}, p.vcpus = {1}; }).find("a split core") != std::string::npos);
  CHECK(says([](auto& p) { p.emulator = {64}; }) == "CPUs that are not there or not allowed; ");
  CHECK(says([](auto& p) { p.memory_nodes = {1}; }).find("memory on a node without any") != std::string::npos);
  CHECK(says([](auto& p) { p.memory_nodes = {2}; }) == "memory is remote; ");
  CHECK(says([](auto& p) { p.product = 4; }) == "the guest's shape is another number of vCPUs; ");
  CHECK(says([](auto& p) { p.vcpus = {1, 8}, p.own = {1, 8, 33, 40}; }) == "crosses nodes without a word; ");
}
