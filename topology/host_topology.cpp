// The questions one can ask a HostTopology. Its JSON is in host_json.cpp.
#include "topology/host_topology.hpp"

#include <algorithm>

namespace topology {

namespace {

template <typename Matches>
CpuSet cpus_where(const HostTopology& host, Matches matches) {
  CpuSet cpus;
  for (const Pu& pu : host.pus)
    if (matches(pu)) cpus.add(pu.cpu);
  return cpus;
}

}  // namespace

const Pu* HostTopology::pu(unsigned cpu) const {
  const auto found = std::lower_bound(pus.begin(), pus.end(), cpu, [](const Pu& p, unsigned c) { return p.cpu < c; });
  return found != pus.end() && found->cpu == cpu ? &*found : nullptr;
}

const Node* HostTopology::node(unsigned id) const {
  if (id < nodes.size() && nodes[id].id == id) return &nodes[id];  // where no number is left out
  const auto found = std::find_if(nodes.begin(), nodes.end(), [id](const Node& n) { return n.id == id; });
  return found != nodes.end() ? &*found : nullptr;
}

CpuSet HostTopology::all_cpus() const {
  return cpus_where(*this, [](const Pu&) { return true; });
}

CpuSet HostTopology::cpus_of_node(unsigned id) const {
  return cpus_where(*this, [id](const Pu& p) { return p.node == id; });
}

CpuSet HostTopology::cpus_of_core(unsigned core) const {
  return cpus_where(*this, [core](const Pu& p) { return p.core == core; });
}

CpuSet HostTopology::cpus_of_l3(unsigned l3) const {
  return cpus_where(*this, [l3](const Pu& p) { return p.l3 == l3; });
}

unsigned HostTopology::threads_per_core() const {
  std::vector<unsigned> cores;
  cores.reserve(pus.size());
  for (const Pu& p : pus) cores.push_back(p.core);
  std::sort(cores.begin(), cores.end());
  unsigned most = 1, run = 0;
  for (std::size_t i = 0; i < cores.size(); ++i) {
    run = i > 0 && cores[i] == cores[i - 1] ? run + 1 : 1;
    most = std::max(most, run);
  }
  return most;
}

unsigned HostTopology::kinds() const {
  std::vector<unsigned> seen;
  for (const Pu& p : pus)
    if (std::find(seen.begin(), seen.end(), p.kind) == seen.end()) seen.push_back(p.kind);
  return std::max<unsigned>(1, static_cast<unsigned>(seen.size()));
}

std::string HostTopology::kind_name(unsigned kind) const {
  if (kind < kind_names.size()) return kind_names[kind];
  const unsigned count = kinds();
  if (count == 1) return "cores";
  if (count > 3) return "cores of kind " + std::to_string(kind);
  const unsigned from_top = count - 1 - std::min(kind, count - 1);
  return from_top == 0 ? "P-cores" : from_top == 1 ? "E-cores" : "low-power cores";
}

bool HostTopology::is_amd() const { return cpu_vendor == "AuthenticAMD" || cpu_vendor == "HygonGenuine"; }

CpuSet HostTopology::allowed_cpus() const { return allowed.cpus ? all_cpus() & *allowed.cpus : all_cpus(); }

const HugePagePool* HostTopology::pool(unsigned node_id, Bytes page) const {
  const Node* at = node(node_id);
  if (at == nullptr) return nullptr;
  for (const HugePagePool& pool : at->pools)
    if (pool.page == page) return &pool;
  return nullptr;
}

unsigned HostTopology::distance(unsigned from, unsigned to) const {
  if (from == to) return 10;
  const Node* at = node(from);
  if (at == nullptr) return 20;
  if (to < nodes.size() && to < at->distances.size() && nodes[to].id == to) return at->distances[to];
  for (std::size_t i = 0; i < nodes.size() && i < at->distances.size(); ++i)
    if (nodes[i].id == to) return at->distances[i];
  return 20;
}

}  // namespace topology
