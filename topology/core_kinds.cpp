// Kinds of cores. Parts whose cores are all alike have a dozen boost clocks, and a part of prioritised base clocks two; the
// rule: neither makes a kind.
#include "topology/core_kinds.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace topology {

namespace {

using Shape = std::tuple<std::size_t, std::size_t, std::uint64_t>;  // threads of the core, cores of its cache, its size

std::map<unsigned, Shape> shapes_by_core(const HostTopology& host) {
  std::map<unsigned, std::size_t> threads;
  std::map<unsigned, std::set<unsigned>> cores_of;
  std::map<unsigned, unsigned> cache_of;
  for (const Pu& pu : host.pus) {
    ++threads[pu.core];
    cores_of[pu.l3].insert(pu.core);
    cache_of[pu.core] = pu.l3;
  }
  std::map<unsigned, std::uint64_t> size_of;
  for (const Cache& cache : host.caches) size_of[cache.l3] = cache.size.count;
  std::map<unsigned, Shape> shapes;
  for (const auto& [core, count] : threads) {
    const unsigned l3 = cache_of[core];
    shapes[core] = {count, cores_of[l3].size(), size_of[l3]};
  }
  return shapes;
}

struct Types {
  std::vector<CoreType> of;  // by position in host.pus
  bool core = false, atom = false;
};

Types types_of(const std::vector<KindClue>& clues, const HostTopology& host) {
  Types types;
  for (const Pu& pu : host.pus) {
    CoreType type = CoreType::unknown;
    for (const KindClue& clue : clues)
      if (clue.type != CoreType::unknown && clue.cpus.contains(pu.cpu)) type = clue.type;
    types.core = types.core || type == CoreType::core;
    types.atom = types.atom || type == CoreType::atom || type == CoreType::low_power;
    types.of.push_back(type);
  }
  return types;
}

// Efficient cores that share no cache with a fast one, where others do, sit on the low-power island.
void find_low_power(const HostTopology& host, Types& types) {
  std::set<unsigned> with_core;
  bool sharing = false;
  for (std::size_t i = 0; i < host.pus.size(); ++i)
    if (types.of[i] == CoreType::core) with_core.insert(host.pus[i].l3);
  for (std::size_t i = 0; i < host.pus.size(); ++i)
    sharing = sharing || (types.of[i] == CoreType::atom && with_core.contains(host.pus[i].l3));
  for (std::size_t i = 0; sharing && i < host.pus.size(); ++i)
    if (types.of[i] == CoreType::atom && !with_core.contains(host.pus[i].l3)) types.of[i] = CoreType::low_power;
}

void set_by_type(Types types, HostTopology& host) {
  find_low_power(host, types);
  constexpr std::pair<CoreType, const char*> order[] = {
      {CoreType::low_power, "low-power cores"}, {CoreType::atom, "E-cores"}, {CoreType::core, "P-cores"}};
  for (const auto& [type, name] : order) {
    const auto kind = static_cast<unsigned>(host.kind_names.size());
    bool any = false;
    for (std::size_t i = 0; i < host.pus.size(); ++i)
      if (types.of[i] == type || (type == CoreType::core && types.of[i] == CoreType::unknown))
        host.pus[i].kind = kind, any = true;
    if (any) host.kind_names.emplace_back(name);
  }
}

// The clock below which cores are of the slower kind; 0: all are near each other. Far is more than a quarter.
unsigned gap_between(const std::map<unsigned, unsigned>& clock_of) {
  std::set<unsigned> clocks;
  for (const auto& [ignored, mhz] : clock_of) clocks.insert(mhz);
  unsigned below = 0;
  for (const unsigned mhz : clocks) {
    if (below != 0 && std::uint64_t{mhz} * 4 > std::uint64_t{below} * 5) return mhz;
    below = mhz;
  }
  return 0;
}

void set_by_clock(const std::vector<KindClue>& clues, HostTopology& host) {
  std::map<unsigned, unsigned> clock_of;  // by core
  for (const Pu& pu : host.pus)
    for (const KindClue& clue : clues)
      if (clue.max_mhz != 0 && clue.cpus.contains(pu.cpu)) clock_of[pu.core] = clue.max_mhz;
  const unsigned gap = gap_between(clock_of);
  if (gap == 0 || clock_of.size() != shapes_by_core(host).size()) return;
  std::set<Shape> slow, fast;
  for (const auto& [core, shape] : shapes_by_core(host)) (clock_of.at(core) < gap ? slow : fast).insert(shape);
  for (const Shape& shape : slow)
    if (fast.contains(shape)) return;
  for (Pu& pu : host.pus) pu.kind = clock_of.at(pu.core) < gap ? 0 : 1;
  host.kind_names = host.cpu_vendor == "GenuineIntel" ? std::vector<std::string>{"E-cores", "P-cores"}
                                                      : std::vector<std::string>{"dense cores", "fast cores"};
}

}  // namespace

bool cores_differ_in_shape(const HostTopology& host) {
  const auto shapes = shapes_by_core(host);
  return std::any_of(shapes.begin(), shapes.end(),
                     [&shapes](const auto& one) { return one.second != shapes.begin()->second; });
}

void set_kinds(const std::vector<KindClue>& clues, HostTopology& host) {
  host.kind_names.clear();
  for (Pu& pu : host.pus) pu.kind = 0;
  const Types types = types_of(clues, host);
  if (types.core && types.atom) return set_by_type(types, host);
  if (!types.core && !types.atom) set_by_clock(clues, host);
}

}  // namespace topology
