// What can be told from the request and the machine alone: the shape of the guest, sizes, names of CPUs and nodes. All
// of it together, before any search.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

constexpr unsigned most_vcpus = 65536;

void check_vcpus(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (r.vcpus == 0 || r.vcpus > most_vcpus)
    problems.push_back({"cpu.count", fmt::format("{} vCPUs; wanted 1 to {}", r.vcpus, most_vcpus), {}, ""});
  if (!r.threads) return;
  if (*r.threads == 0 || r.vcpus % *r.threads != 0)
    problems.push_back(
        {"cpu.threads",
         fmt::format("{} vCPUs cannot be divided into cores of {} threads", r.vcpus, *r.threads),
         {},
         fmt::format("make cpu.count a multiple of {}, or set threads = \"auto\"", std::max(1u, *r.threads))});
  else if (r.pinning != Pinning::off && *r.threads > view.threads_per_core)
    problems.push_back(
        {"cpu.threads",
         fmt::format("{} threads per core asked, this host's cores have {}", *r.threads, view.threads_per_core),
         {},
         fmt::format("set threads = {} or \"auto\"", view.threads_per_core)});
}

// sockets x cores x threads against the vCPUs; says the product it found.
void check_shape(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (!r.sockets && !r.cores) return;
  const char* key = r.cores ? "cpu.cores" : "cpu.sockets";
  if (r.sockets == 0u || r.cores == 0u) {
    problems.push_back({r.cores == 0u ? "cpu.cores" : "cpu.sockets", "0; wanted 1 or more", {}, ""});
    return;
  }
  std::vector<unsigned> tries;
  if (r.threads)
    tries = {*r.threads};
  else
    for (unsigned t = 1; t <= view.threads_per_core; ++t) tries.push_back(t);
  if (std::any_of(tries.begin(), tries.end(), [&r](unsigned t) { return shape_fits(r, t); })) return;
  std::string product;
  const auto factor = [&product](std::optional<unsigned> n, const char* what) {
    if (n) product += fmt::format("{}{} {}", product.empty() ? "" : " x ", *n, what);
  };
  factor(r.sockets, "sockets");
  factor(r.cores, "cores");
  factor(r.threads, "threads");
  const std::uint64_t value = std::uint64_t{r.sockets.value_or(1)} * r.cores.value_or(1) * r.threads.value_or(1);
  const bool whole = r.sockets && r.cores;
  problems.push_back({key,
                      whole ? fmt::format("{} = {}, but there are {} vCPUs", product, value, r.vcpus)
                            : fmt::format("{} vCPUs cannot be divided by {} = {}", r.vcpus, product, value),
                      {},
                      "sockets x cores x threads must give cpu.count"});
}

void check_memory(const View& view, Problems& problems) {
  const auto& r = view.request;
  const Bytes base = view.host.base_page;
  if (r.memory.count == 0) {
    problems.push_back({"memory.size", "no memory; wanted more than 0", {}, ""});
    return;
  }
  std::set<std::uint64_t> sizes = {base.count};
  for (const Node& node : view.host.nodes)
    for (const HugePagePool& pool : node.pools) sizes.insert(pool.page.count);
  if (r.page && !sizes.contains(r.page->count)) {
    std::string known;
    for (const auto size : sizes) known += (known.empty() ? "" : ", ") + page_name(Bytes{size});
    problems.push_back({"memory.page",
                        fmt::format("this host has no pages of {}; it has {}", page_name(*r.page), known),
                        {},
                        "set page = \"auto\", or one of these"});
    return;
  }
  const Bytes page = r.page.value_or(base);
  if (r.memory.count % page.count == 0) return;
  const auto down = r.memory.count / page.count * page.count;
  problems.push_back(
      {"memory.size",
       fmt::format("{} is not a multiple of the page, {}", to_string(r.memory), page_name(page)),
       {},
       down > 0 ? fmt::format("{} or {} would be", to_string(Bytes{down}), to_string(Bytes{down + page.count}))
                : fmt::format("at least {}, or a smaller page", to_string(page))});
}

void check_nodes(const View& view, Problems& problems) {
  std::vector<unsigned> known;
  known.reserve(view.host.nodes.size());
  for (const Node& node : view.host.nodes) known.push_back(node.id);
  std::set<unsigned> seen;
  for (const unsigned id : view.request.nodes) {
    if (view.host.node(id) == nullptr)
      problems.push_back({"memory.nodes",
                          fmt::format("this host has no node {}; it has {}", id, numbers(known)),
                          {},
                          "name nodes that it has, or leave out memory.nodes"});
    else if (!seen.insert(id).second)
      problems.push_back({"memory.nodes", fmt::format("node {} is named twice", id), {}, "name each once"});
  }
}

std::string no_such_cpus(const View& view, const CpuSet& cpus) {
  const std::string others = view.host.all_cpus().to_string();
  return view.whole.all_cpus().contains(cpus)
             ? fmt::format("CPU {} is not among those that vmrun was allowed, {}", cpus.to_string(), others)
             : fmt::format("this host has no CPU {}; it has {}", cpus.to_string(), others);
}

void check_listed(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (r.pinning != Pinning::listed) return;
  if (r.listed.size() != r.vcpus)
    problems.push_back({"cpu.pin",
                        fmt::format("names {} CPUs for {} vCPUs", r.listed.size(), r.vcpus),
                        {},
                        "name one CPU for each vCPU, in their order"});
  std::set<unsigned> seen;
  CpuSet unknown;
  for (const unsigned cpu : r.listed) {
    if (view.host.pu(cpu) == nullptr)
      unknown.add(cpu);
    else if (!seen.insert(cpu).second)
      problems.push_back(
          {"cpu.pin", fmt::format("CPU {} is named twice", cpu), {}, "each vCPU needs a CPU of its own"});
    else if (const auto owner = view.taken.owner_of(cpu))
      problems.push_back({"cpu.pin",
                          fmt::format("CPU {} belongs to the VM {}", cpu, *owner),
                          {},
                          "name another CPU, stop that VM, or set pin = \"auto\""});
  }
  if (!unknown.empty())
    problems.push_back(
        {"cpu.pin", no_such_cpus(view, unknown), {}, "name CPUs that are online (`lscpu -e`), or set pin = \"auto\""});
}

// Whole cores only where the policy says so; what the host keeps of a core cannot be kept free by the VM.
void check_listed_siblings(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (r.pinning != Pinning::listed || r.siblings == Siblings::prefer || !problems.empty()) return;
  if (r.siblings == Siblings::require) {
    for (unsigned threads = r.threads.value_or(view.threads_per_core); threads > 1; --threads)
      if (r.vcpus % threads == 0 && mirrors(view, threads)) return;
    problems.push_back({"cpu.pin",
                        "the listed CPUs are not the threads of whole cores in a row, as siblings = \"require\" wants",
                        {},
                        "list the threads of one core after the other (`lscpu -e`), or set siblings = \"prefer\""});
    return;
  }
  if (!mirrors(view, 1))
    problems.push_back({"cpu.pin",
                        "two of the listed CPUs share a core, but siblings = \"isolate\" wants a core for each vCPU",
                        {},
                        "list one CPU of each core (`lscpu -e`), or set siblings = \"prefer\""});
  CpuSet kept;
  for (const unsigned cpu : r.listed) kept |= view.host.cpus_of_core(view.host.pu(cpu)->core) & view.housekeeping;
  if (!kept.empty())
    problems.push_back({"cpu.pin",
                        fmt::format("CPUs {} of the listed cores stay the host's (housekeeping), but siblings = "
                                    "\"isolate\" wants them idle",
                                    kept.to_string()),
                        {},
                        "list CPUs of other cores, or change housekeeping in /etc/vmrun/host.toml"});
}

void check_siblings(const View& view, Problems& problems) {
  const auto& r = view.request;
  if (r.siblings == Siblings::prefer) return;
  const char* name = r.siblings == Siblings::isolate ? "isolate" : "require";
  if (r.pinning == Pinning::off)
    problems.push_back({"cpu.siblings",
                        fmt::format("\"{}\", but pin = \"off\" gives no CPU to any vCPU", name),
                        {},
                        "set pin = \"auto\", or siblings = \"prefer\""});
  else if (r.siblings == Siblings::require && view.threads_per_core < 2)
    problems.push_back({"cpu.siblings",
                        "\"require\", but no core of this host has SMT siblings",
                        {},
                        "set siblings = \"prefer\", or turn SMT on (`cat /sys/devices/system/cpu/smt/control`)"});
  else if (r.threads && (*r.threads == 1) == (r.siblings == Siblings::require))
    problems.push_back(
        {"cpu.threads",
         fmt::format("{}, but siblings = \"{}\" gives {}", *r.threads, name,
                     r.siblings == Siblings::isolate ? "each vCPU a core of its own" : "each core's threads to vCPUs"),
         {},
         "set threads = \"auto\""});
  else if (r.pinning == Pinning::automatic && core_needs(view).empty() && r.siblings == Siblings::isolate)
    problems.push_back(
        {r.cores ? "cpu.cores" : "cpu.sockets",
         fmt::format("this shape leaves {} vCPUs more than one thread a core, but siblings = \"isolate\" "
                     "gives each a core of its own",
                     r.vcpus),
         {},
         "leave out cpu.cores and cpu.sockets, or set siblings = \"prefer\""});
  else if (r.pinning == Pinning::automatic && core_needs(view).empty())
    problems.push_back(
        {"cpu.siblings",
         fmt::format("\"require\", but {} vCPUs are no multiple of the {} threads of this host's cores{}", r.vcpus,
                     view.threads_per_core, view.kinds.size() > 1 ? " that may be used" : ""),
         {},
         "make cpu.count a multiple (and cores x sockets with it), or set siblings = \"prefer\""});
}

// What the cgroup lets be charged bounds QEMU's own memory and base pages; huge ones are counted there where cgroup2 is mounted so.
void check_allowed_memory(const View& view, Problems& problems) {
  const auto& r = view.request;
  const auto limit = view.whole.allowed.memory;
  const bool base = !r.page ? r.memory.count % mib(2).count != 0 : *r.page == view.host.base_page;
  const bool all = view.whole.allowed.huge_pages_count;
  const Bytes charged = base || all ? r.memory : Bytes{};
  if (limit && charged + qemus_own > *limit) {
    const std::string what = charged.count == 0 ? "QEMU itself needs " + to_string(qemus_own)
                             : charged > *limit ? to_string(r.memory) + (all ? "" : " in base pages")
                                                : fmt::format("{}{} and {} for QEMU itself", to_string(r.memory),
                                                              all ? "" : " in base pages", to_string(qemus_own));
    std::string help = "raise memory.max of that cgroup";
    if (charged.count != 0) help += all ? ", or lower memory.size" : ", or use huge pages, which it does not count";
    problems.push_back({"memory.size", fmt::format("{}, but vmrun was allowed {}", what, to_string(*limit)), {}, help});
  }
  if (const auto left = r.page ? view.whole.allowed.left_of(*r.page) : std::nullopt; left && r.memory > *left)
    problems.push_back(
        {"memory.page",
         fmt::format("{} in pages of {}, but vmrun was allowed {} of them", to_string(r.memory), page_name(*r.page),
                     to_string(*left)),
         {},
         fmt::format("raise hugetlb.{}B.max of that cgroup, or set page = \"auto\"", page_name(*r.page))});
}

void check_emulator(const View& view, Problems& problems) {
  if (!view.request.emulator) return;
  const CpuSet& asked = *view.request.emulator;
  if (asked.empty()) problems.push_back({"cpu.emulator", "no CPU; wanted at least one, or \"auto\"", {}, ""});
  const CpuSet unknown = asked - view.host.all_cpus();
  if (!unknown.empty())
    problems.push_back({"cpu.emulator",
                        no_such_cpus(view, unknown),
                        {},
                        "name CPUs that are online (`lscpu -e`), or set emulator = \"auto\""});
  for (const Reservation& vm : view.taken.vms)
    if (vm.cpus.intersects(asked))
      problems.push_back({"cpu.emulator",
                          fmt::format("CPU {} belongs to the VM {}", (vm.cpus & asked).to_string(), vm.owner),
                          {},
                          ""});
}

}  // namespace

bool shape_fits(const PlacementRequest& r, unsigned threads) {
  if (!cells_keep_cores(r, threads)) return false;
  const std::uint64_t product = std::uint64_t{r.sockets.value_or(1)} * r.cores.value_or(1);
  if (threads == 0 || product == 0 || product > r.vcpus) return false;
  if (r.sockets && r.cores) return product * threads == r.vcpus;
  return r.vcpus % (product * threads) == 0;
}

Problems check(const View& view) {
  Problems problems;
  check_vcpus(view, problems);
  check_cells(view, problems);
  if (problems.empty()) check_shape(view, problems);
  check_memory(view, problems);
  check_nodes(view, problems);
  check_listed(view, problems);
  if (problems.empty()) check_siblings(view, problems);
  check_listed_siblings(view, problems);
  check_emulator(view, problems);
  check_which_cores(view, problems);
  check_allowed_memory(view, problems);
  return problems;
}

}  // namespace topology::parts
