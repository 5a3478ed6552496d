// place() over thousands of random hosts and requests: what must hold whatever it decides, and that it finds a single
// node whenever a plain search over everything finds one.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "tests/topology/placing.hpp"

using namespace topology;

namespace {

using Random = std::mt19937;

unsigned below(Random& random, unsigned n) { return static_cast<unsigned>(random() % n); }
bool chance(Random& random, unsigned percent) { return below(random, 100) < percent; }

// Up to 4 nodes, a few L3 each, cores of 1 or 2 threads, sometimes two kinds, sometimes a sibling offline, CPU numbers
// shuffled, memory and pools from nothing to much.
HostTopology random_host(Random& random) {
  HostTopology host;
  const unsigned nodes = 1 + below(random, 4), packages = 1 + below(random, 2), caches = 1 + below(random, 3),
                 cores = 1 + below(random, 4);
  const unsigned threads = 1 + below(random, 2);
  const bool kinds = chance(random, 20);
  for (unsigned node = 0, core = 0, l3 = 0; node < nodes; ++node) {
    for (unsigned cache = 0; cache < caches; ++cache, ++l3)
      for (unsigned i = 0; i < cores; ++i, ++core) {
        const unsigned kind = kinds && cache == 0 ? 1 : 0;
        const unsigned here = kinds && kind == 0 ? 1 : threads;
        for (unsigned t = 0; t < here; ++t)
          if (t == 0 || !chance(random, 3)) host.pus.push_back({0, core, l3, node * packages / nodes, node, kind});
      }
    Node n{
        .id = node, .memory_total = gib(16), .memory_free = mib(512) * below(random, 20), .pools = {}, .distances = {}};
    const std::uint64_t small = chance(random, 50) ? below(random, 1500) : 0,
                        large = chance(random, 20) ? below(random, 10) : 0;
    if (!chance(random, 10)) n.pools = {{mib(2), small, small - small / 4}, {gib(1), large, large}};
    n.memory_free = std::min(n.memory_free, n.memory_total - mib(2) * small - gib(1) * large);
    for (unsigned to = 0; to < nodes; ++to) n.distances.push_back(to == node ? 10 : 11 + below(random, 3));
    host.nodes.push_back(std::move(n));
  }
  std::vector<unsigned> numbers(host.pus.size());
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (chance(random, 50)) std::shuffle(numbers.begin(), numbers.end(), random);
  for (std::size_t i = 0; i < numbers.size(); ++i) host.pus[i].cpu = numbers[i];
  std::sort(host.pus.begin(), host.pus.end(), [](const Pu& a, const Pu& b) { return a.cpu < b.cpu; });
  return host;
}

PlacementRequest random_request(Random& random, const HostTopology& host) {
  auto request = vm(1 + below(random, 12),
                    chance(random, 90) ? mib(256) * (1 + below(random, 40)) : kib(4) * (1 + below(random, 100000)));
  request.own_cpus = true;  // on these small hosts it would often float
  if (chance(random, 20)) request.threads = 1 + below(random, 2);
  if (chance(random, 20)) request.page = std::vector{kib(4), mib(2), gib(1)}[below(random, 3)];
  if (chance(random, 20)) request.may_reserve_pages = false;
  if (chance(random, 15)) request.nodes = {below(random, static_cast<unsigned>(host.nodes.size()))};
  if (chance(random, 10) && host.nodes.size() > 1) request.nodes = {0, 1};
  if (chance(random, 20)) request.policy = chance(random, 50) ? MemoryPolicy::preferred : MemoryPolicy::interleave;
  if (chance(random, 20))
    request.kind = std::vector{CpuKindChoice::any, CpuKindChoice::fastest, CpuKindChoice::efficient}[below(random, 3)];
  if (chance(random, 10)) request.l3 = host.pus[below(random, static_cast<unsigned>(host.pus.size()))].l3;
  if (chance(random, 20)) request.device_nodes = {below(random, static_cast<unsigned>(host.nodes.size()))};
  if (chance(random, 10))
    request.emulator = CpuSet{host.pus[below(random, static_cast<unsigned>(host.pus.size()))].cpu};
  if (chance(random, 10)) request.pinning = Pinning::off;
  if (chance(random, 10)) {
    request.pinning = Pinning::listed;
    for (unsigned i = 0; i < request.vcpus; ++i)
      request.listed.push_back(host.pus[below(random, static_cast<unsigned>(host.pus.size()))].cpu);
  }
  if (chance(random, 30)) request.siblings = chance(random, 50) ? Siblings::isolate : Siblings::require;
  request.iothreads = below(random, 3);
  return request;
}

Reservations random_vms(Random& random, const HostTopology& host) {
  Reservations taken;
  CpuSet left = host.all_cpus();
  for (unsigned i = 0; i < below(random, 4); ++i) {
    Reservation reservation{fmt::format("vm{}", i), {}, {}};
    for (const unsigned cpu : left.to_vector())
      if (chance(random, 15)) reservation.cpus.add(cpu);
    left -= reservation.cpus;
    reservation.pages.push_back({below(random, static_cast<unsigned>(host.nodes.size())), mib(2), below(random, 1000)});
    taken.vms.push_back(std::move(reservation));
  }
  return taken;
}

struct Case {
  HostTopology host;
  PlacementRequest request;
  HostPolicy policy;
  Reservations taken;
};

Case random_case(Random& random) {
  Case c{random_host(random), {}, {}, {}};
  c.request = random_request(random, c.host);
  c.taken = random_vms(random, c.host);
  if (chance(random, 30)) c.policy.housekeeping = CpuSet{below(random, 4), below(random, 4)};
  return c;
}

// ---- what must hold

std::set<unsigned> cores_of(const HostTopology& host, const CpuSet& cpus) {
  std::set<unsigned> cores;
  for (const unsigned cpu : cpus.to_vector()) cores.insert(host.pu(cpu)->core);
  return cores;
}

// May vCPUs fill every thread of cores that differ in threads? Where nothing was asked of threads, and kinds may be mixed.
bool may_fill(const Case& c) {
  return !c.request.threads && c.request.siblings == Siblings::prefer &&
         (c.host.kinds() == 1 || c.request.kind == CpuKindChoice::any);
}

void check_cpus(const Case& c, const Placement& p) {
  const CpuSet kept = c.policy.housekeeping.value_or(default_housekeeping(c.host)), held = c.taken.cpus();
  CpuSet seats;
  for (const VcpuSeat& seat : p.vcpus) {
    REQUIRE(seat.cpu.has_value() == (c.request.pinning != Pinning::off));
    if (!seat.cpu) continue;
    CHECK_FALSE(seats.contains(*seat.cpu));
    seats.add(*seat.cpu);
  }
  CHECK(p.vcpus.size() == c.request.vcpus);
  CHECK(p.exclusive.contains(seats));
  CHECK_FALSE(p.exclusive.intersects(held));
  CHECK_FALSE(p.emulator.empty());
  CHECK_FALSE(p.emulator.intersects(held));
  CHECK(c.host.all_cpus().contains(p.emulator));
  if (c.request.pinning != Pinning::automatic) return;
  CHECK_FALSE(p.exclusive.intersects(kept));
  CpuSet whole;
  std::set<unsigned> kinds;
  for (const unsigned cpu : seats.to_vector()) {
    whole |= c.host.cpus_of_core(c.host.pu(cpu)->core);
    kinds.insert(c.host.pu(cpu)->kind);
  }
  CHECK(p.exclusive == whole);  // never a split core
  CHECK((kinds.size() == 1 || c.request.kind == CpuKindChoice::any));
  if (c.request.l3)
    for (const unsigned cpu : seats.to_vector()) CHECK(c.host.pu(cpu)->l3 == *c.request.l3);
  std::set<unsigned> cores;
  const bool filled = may_fill(c) && p.guest.threads == 1 && c.request.vcpus > cores_of(c.host, seats).size();
  for (const VcpuSeat& seat : p.vcpus) {
    const unsigned core = c.host.pu(*seat.cpu)->core;
    if (filled)  // the CPUs of one core in a row
      CHECK((cores.insert(core).second || core == c.host.pu(*p.vcpus[seat.vcpu - 1].cpu)->core));
    else
      CHECK(cores.insert(core).second == (seat.vcpu % p.guest.threads == 0));  // guest cores are host cores
  }
}

// isolate: a core for each vCPU, all of it the VM's. require: every core with a vCPU is full of them, or as full as the
// guest's threads say, and that is two or more.
void check_siblings(const Case& c, const Placement& p) {
  if (c.request.siblings == Siblings::prefer) return;
  REQUIRE(c.request.pinning != Pinning::off);
  std::map<unsigned, unsigned> on_core;
  for (const VcpuSeat& seat : p.vcpus) ++on_core[c.host.pu(*seat.cpu)->core];
  for (const auto& [core, count] : on_core) {
    CHECK(p.exclusive.contains(c.host.cpus_of_core(core)));
    if (c.request.siblings == Siblings::isolate) CHECK(count == 1);
    if (c.request.siblings == Siblings::require) CHECK(count >= 2);
    if (c.request.siblings == Siblings::require && c.request.pinning == Pinning::automatic)
      CHECK(count == p.guest.threads);
  }
  if (c.request.siblings == Siblings::isolate && c.request.pinning == Pinning::automatic) CHECK(p.guest.threads == 1);
}

std::uint64_t room(const Case& c, unsigned node, Bytes page) {
  const Bytes free = free_memory(c.host, node, c.taken);
  const std::uint64_t spare = free > c.policy.keep_free ? (free - c.policy.keep_free).count / page.count : 0;
  if (page == c.host.base_page) return spare;
  return free_pages(c.host, node, page, c.taken) + (c.request.may_reserve_pages && c.host.pool(node, page) ? spare : 0);
}

void check_memory(const Case& c, const Placement& p) {
  std::uint64_t cells = 0, pages = 0;
  for (const MemoryCell& cell : p.cells) {
    cells += cell.size.count;
    CHECK(cell.size.count > 0);
    CHECK(cell.size.count % p.page.count == 0);
    CHECK_FALSE(cell.host_nodes.empty());
  }
  CHECK(cells == c.request.memory.count);
  for (const PageNeed& need : p.pages) {
    pages += need.pages;
    CHECK(need.page == p.page);
    CHECK(need.pages <= room(c, need.node, p.page));
    const bool base = p.page == c.host.base_page;
    const std::uint64_t free = base ? need.pages : free_pages(c.host, need.node, p.page, c.taken);
    CHECK(need.deficit == (need.pages > free ? need.pages - free : 0));
    if (!c.request.may_reserve_pages) CHECK(need.deficit == 0);
  }
  CHECK(pages * p.page.count == c.request.memory.count);
  if (c.request.page) CHECK(p.page == *c.request.page);
  if (!c.request.page) CHECK(noted(p, "memory.page = \"auto\" became " + to_string(p.page)));
}

void check_shape(const Case& c, const Placement& p) {
  const GuestTopology& g = p.guest;
  CHECK(g.sockets * g.dies * g.cores * g.threads == c.request.vcpus);
  std::set<unsigned> nodes;
  std::size_t seats = 0;
  for (const VcpuSeat& seat : p.vcpus)
    if (seat.cpu) nodes.insert(c.host.pu(*seat.cpu)->node);
  for (const MemoryCell& cell : p.cells) {
    seats += cell.vcpus.size();
    for (const unsigned vcpu : cell.vcpus) CHECK(p.vcpus.at(vcpu).guest_node == cell.guest_node);
  }
  CHECK(seats == c.request.vcpus);
  // a die, and so each of the guest's L3s, is of one of its nodes, but where a core itself is of two
  const auto of_one_node = [&](unsigned from, unsigned count) {
    return std::all_of(p.vcpus.begin() + from, p.vcpus.begin() + from + count,
                       [&](const VcpuSeat& seat) { return seat.guest_node == p.vcpus[from].guest_node; });
  };
  bool whole_cores = true;
  for (unsigned at = 0; at < c.request.vcpus; at += g.threads) whole_cores = whole_cores && of_one_node(at, g.threads);
  for (unsigned at = 0; whole_cores && at < c.request.vcpus; at += g.cores * g.threads)
    CHECK(of_one_node(at, g.cores * g.threads));
  CHECK(p.distances.size() == (p.cells.size() > 1 ? p.cells.size() : 0));
  if (nodes.size() > 1) CHECK((noted(p, "crosses nodes") || noted(p, "memory.nodes = ")));
  if (!c.request.nodes.empty() && c.request.policy != MemoryPolicy::preferred) {
    std::set<unsigned> lie;
    for (const MemoryCell& cell : p.cells) lie.insert(cell.host_nodes.begin(), cell.host_nodes.end());
    CHECK(lie == std::set<unsigned>(c.request.nodes.begin(), c.request.nodes.end()));
  }
}

// ---- brute force: is there one node, one kind, one number of threads that does?

// Are there enough threads of whole free cores on the node, of cores that differ?
bool fills(const Case& c, const CpuSet& free, unsigned node) {
  std::size_t there = 0;
  std::set<std::size_t> sizes;
  for (const Pu& pu : c.host.pus) {
    const CpuSet core = c.host.cpus_of_core(pu.core);
    if (!free.contains(core)) continue;
    sizes.insert(core.size());
    there += pu.node == node ? 1 : 0;
  }
  return sizes.size() > 1 && there >= c.request.vcpus;
}

bool one_node_does(const Case& c) {
  const auto& r = c.request;
  CpuSet free = free_cpus(c.host, c.policy, c.taken);
  if (r.emulator) free -= *r.emulator;
  if (r.l3) free = free & c.host.cpus_of_l3(*r.l3);
  std::vector<Bytes> pages = r.page ? std::vector{*r.page} : std::vector{kib(4), mib(2)};
  if (!r.page && r.memory >= gib(8)) pages.push_back(gib(1));
  std::set<unsigned> kinds;
  for (const Pu& pu : c.host.pus) kinds.insert(pu.kind);
  const unsigned fastest = *kinds.rbegin(), slowest = *kinds.begin();
  for (const Node& node : c.host.nodes) {
    bool memory = false;
    for (const Bytes page : pages) {
      std::uint64_t have = room(c, node.id, page);
      if (!r.page && page == gib(1)) have = free_pages(c.host, node.id, page, c.taken);
      memory = memory || (r.memory.count % page.count == 0 && have >= r.memory.count / page.count);
    }
    if (!memory) continue;
    for (int kind = -1; kind < static_cast<int>(kinds.size()); ++kind) {
      const bool mixed = kind < 0;
      if (kinds.size() > 1 && mixed != (r.kind == CpuKindChoice::any)) continue;
      const unsigned wanted = static_cast<unsigned>(kind);
      if (!mixed && r.kind == CpuKindChoice::fastest && wanted != fastest) continue;
      if (!mixed && r.kind == CpuKindChoice::efficient && wanted != slowest) continue;
      for (unsigned threads = 1; threads <= 2; ++threads) {
        if (r.vcpus % threads != 0 || (r.threads && *r.threads != threads)) continue;
        if (r.siblings == Siblings::isolate ? threads != 1 : r.siblings == Siblings::require && threads < 2) continue;
        std::set<unsigned> cores;
        for (const Pu& pu : c.host.pus) {
          const CpuSet core = c.host.cpus_of_core(pu.core);
          if (pu.node == node.id && (mixed || pu.kind == wanted) && free.contains(core) && core.size() >= threads)
            cores.insert(pu.core);
        }
        if (cores.size() * threads >= r.vcpus) return true;
      }
      if (mixed && may_fill(c) && fills(c, free, node.id)) return true;
    }
  }
  return false;
}

bool sits_on_one_node(const HostTopology& host, const Placement& p) {
  std::set<unsigned> nodes;
  for (const VcpuSeat& seat : p.vcpus) nodes.insert(host.pu(*seat.cpu)->node);
  return nodes.size() == 1 && p.cells.size() == 1 && p.cells[0].host_nodes.size() == 1;
}

}  // namespace

TEST_CASE("whatever is placed keeps the rules") {
  Random random(42);
  unsigned placed_ones = 0, crossing = 0, isolated = 0, required = 0;
  for (int round = 0; round < 6000; ++round) {
    CAPTURE(round);
    const Case c = random_case(random);
    const PlaceResult result = place(c.request, c.host, c.policy, c.taken);
    Reservations turned{{c.taken.vms.rbegin(), c.taken.vms.rend()}};
    const PlaceResult again = place(c.request, c.host, c.policy, turned);
    REQUIRE(result.has_value() == again.has_value());
    if (!result) {
      CHECK_FALSE(result.error().empty());
      for (const Unplaceable& why : result.error()) CHECK_FALSE((why.key.empty() || why.what.empty()));
      CHECK(place(c.request, c.host, c.policy, c.taken).error() == result.error());
      continue;
    }
    CHECK(*result == *again);  // neither chance nor the order of VMs matters
    ++placed_ones;
    crossing += result->cells.size() > 1;
    check_cpus(c, *result);
    check_siblings(c, *result);
    isolated += c.request.siblings == Siblings::isolate;
    required += c.request.siblings == Siblings::require;
    check_memory(c, *result);
    check_shape(c, *result);
  }
  CHECK(placed_ones > 1000);  // or the test says nothing
  CHECK(crossing > 100);
  CHECK(isolated > 100);
  CHECK(required > 50);
}

TEST_CASE("one node exactly when some one node does") {
  Random random(7);
  unsigned yes = 0, no = 0;
  for (int round = 0; round < 6000; ++round) {
    CAPTURE(round);
    Case c = random_case(random);
    c.request.pinning = Pinning::automatic;
    c.request.policy = MemoryPolicy::strict;
    c.request.nodes.clear();
    c.request.listed.clear();
    if (c.request.page && c.request.memory.count % c.request.page->count != 0) c.request.page.reset();
    const PlaceResult result = place(c.request, c.host, c.policy, c.taken);
    if (!result && result.error().front().key != "cpu.count" && result.error().front().key.starts_with("cpu."))
      continue;  // not a matter of room
    if (!result && result.error().front().what.find("this host has no pages") != std::string::npos) continue;
    const bool can = one_node_does(c);
    (can ? yes : no) += 1;
    CHECK_MESSAGE((result && sits_on_one_node(c.host, *result)) == can, line(result));
  }
  CHECK(yes > 900);  // compilers draw a case's numbers in orders of their own
  CHECK(no > 900);
}

TEST_CASE("one L3 whenever one of the node's L3 holds all") {
  Random random(11);
  unsigned seen = 0;
  for (int round = 0; round < 5000; ++round) {
    Case c = random_case(random);
    c.request.pinning = Pinning::automatic;
    c.request.emulator.reset();
    const PlaceResult result = place(c.request, c.host, c.policy, c.taken);
    if (!result || !sits_on_one_node(c.host, *result)) continue;
    CpuSet seats;
    for (const VcpuSeat& seat : result->vcpus) seats.add(*seat.cpu);
    if (c.request.l3 || cores_of(c.host, seats).size() != c.request.vcpus / result->guest.threads) continue;
    const Pu& first = *c.host.pu(*result->vcpus[0].cpu);
    const CpuSet free = free_cpus(c.host, c.policy, c.taken);
    const bool mixed = c.request.kind == CpuKindChoice::any;
    std::map<unsigned, std::set<unsigned>> cores;
    for (const Pu& pu : c.host.pus) {
      const CpuSet core = c.host.cpus_of_core(pu.core);
      if (pu.node == first.node && (mixed || pu.kind == first.kind) && free.contains(core) &&
          core.size() >= result->guest.threads)
        cores[pu.l3].insert(pu.core);
    }
    const unsigned need = c.request.vcpus / result->guest.threads;
    std::size_t tightest = ~std::size_t{0};
    for (const auto& [l3, of] : cores)
      if (of.size() >= need) tightest = std::min(tightest, of.size());
    if (tightest == ~std::size_t{0}) continue;
    ++seen;
    for (const VcpuSeat& seat : result->vcpus) CHECK(c.host.pu(*seat.cpu)->l3 == first.l3);
    CHECK(cores[first.l3].size() == tightest);
  }
  CHECK(seen > 300);
}

TEST_CASE("1000 VMs packed onto 4096 PUs: no CPU is given twice") {
  const HostTopology host = machine("synthetic-8n-4096");
  const auto from = std::chrono::steady_clock::now();
  Reservations taken;
  CpuSet given;
  Random random(3);
  for (unsigned i = 0; i < 1000; ++i) {
    const auto result = place(vm(1 + below(random, 4), mib(256)), host, {}, taken);
    REQUIRE_MESSAGE(result, fmt::format("VM {}: {}", i, line(result)));
    REQUIRE_FALSE(given.intersects(result->exclusive));
    given |= result->exclusive;
    taken.vms.push_back(as_reservation(fmt::format("vm{}", i), *result));
  }
  CHECK_FALSE(given.intersects(default_housekeeping(host)));
  MESSAGE("1000 VMs in " << std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count() << " s");
  // Full is full: then the shortage names holders.
  const auto full = place(vm(4000, mib(256)), host, {}, taken);
  REQUIRE_FALSE(full);
  CHECK(full.error()[0].nodes[0].holder.find("vm0 (") != std::string::npos);
}

TEST_CASE("on 64 nodes a VM over half of them costs not a hundred times one that sits on a single node") {
  const HostTopology host = synthetic("pack:64 [numa] l3:1 core:16 pu:2");
  const auto cost = [&host](unsigned vcpus) {  // of this process alone, the least of five
    std::clock_t least = std::numeric_limits<std::clock_t>::max();
    for (int i = 0; i < 5; ++i) {
      const std::clock_t from = std::clock();
      REQUIRE(place(vm(vcpus, gib(64)), host, {}, {}));
      least = std::min(least, std::clock() - from);
    }
    return static_cast<double>(least);
  };
  const double small = cost(8), large = cost(1000);
  MESSAGE("8 vCPUs: " << small * 1e3 / CLOCKS_PER_SEC << " ms, 1000: " << large * 1e3 / CLOCKS_PER_SEC << " ms");
  CHECK(large < 40 * small);
}
