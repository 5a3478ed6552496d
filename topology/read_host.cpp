// hwloc -> HostTopology: what hwloc knows of CPUs, caches and nodes. The rule: where the kernel says it plainly (the CPUs of
// a node, what changes from minute to minute), sysfs has the word.
#include "topology/read_host.hpp"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_map>

#include "topology/core_kinds.hpp"
#include "topology/hwloc_environment.hpp"
#include "topology/read_host_now.hpp"

namespace topology {

namespace {

struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;

enum class Source { this_machine, description };

// Only what HostTopology has a place for is kept: hwloc then skips whole phases (caches, I/O).
Topology new_topology(Source source, Devices devices) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return nullptr;
  Topology topology(raw);
  hwloc_topology_set_all_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  // A node hangs on the object that has exactly its CPUs: where that is filtered away (a die, a group), hwloc moves the node
  // up to the package or the machine, and with it to CPUs that are not its own.
  if (source == Source::description) hwloc_topology_set_all_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
  for (const hwloc_obj_type_t type : {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_CORE})
    hwloc_topology_set_type_filter(raw, type, HWLOC_TYPE_FILTER_KEEP_ALL);
  hwloc_topology_set_io_types_filter(raw, HWLOC_TYPE_FILTER_KEEP_NONE);
  hwloc_topology_set_type_filter(raw, HWLOC_OBJ_MISC, HWLOC_TYPE_FILTER_KEEP_NONE);
  if (devices == Devices::read) {
    hwloc_topology_set_type_filter(raw, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    hwloc_topology_set_type_filter(raw, HWLOC_OBJ_OS_DEVICE, HWLOC_TYPE_FILTER_KEEP_ALL);
  }
  if (source == Source::this_machine) {
    // x86 asks cpuid on every CPU by binding to it, the others load GPU libraries; the kernel's word is enough.
    for (const char* slow : {"x86", "opencl", "cuda", "nvml", "rsmi", "levelzero", "gl"})
      hwloc_topology_set_components(raw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, slow);
  }
  return topology;
}

// ---- CPUs

// hwloc objects -> small numbers in the order in which they are first met.
class Numbering {
 public:
  unsigned of(const void* object) {
    return numbers_.try_emplace(object, static_cast<unsigned>(numbers_.size())).first->second;
  }

 private:
  std::unordered_map<const void*, unsigned> numbers_;
};

// The L3 of a PU; where there is none the L2 (E-core clusters, low-power islands), else the package.
hwloc_obj_t last_cache(hwloc_topology_t topology, hwloc_obj_t pu) {
  for (const hwloc_obj_type_t type : {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_PACKAGE})
    if (hwloc_obj_t found = hwloc_get_ancestor_obj_by_type(topology, type, pu)) return found;
  return hwloc_get_root_obj(topology);
}

// CPU number -> node. A CPU may be local to several nodes (DRAM and HBM, CXL memory): the node with the fewest CPUs
// has it, the lowest number among equals.
std::vector<unsigned> nodes_by_cpu(hwloc_topology_t topology, unsigned cpus) {
  std::vector<hwloc_obj_t> nodes;
  for (hwloc_obj_t node = nullptr; (node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr;)
    nodes.push_back(node);
  std::sort(nodes.begin(), nodes.end(), [](hwloc_obj_t a, hwloc_obj_t b) {
    const int of_a = hwloc_bitmap_weight(a->cpuset), of_b = hwloc_bitmap_weight(b->cpuset);
    return of_a != of_b ? of_a > of_b : a->os_index > b->os_index;
  });
  std::vector<unsigned> node_of(cpus, 0);
  for (const hwloc_obj_t node : nodes)
    for (int cpu = hwloc_bitmap_first(node->cpuset); cpu >= 0; cpu = hwloc_bitmap_next(node->cpuset, cpu))
      if (static_cast<unsigned>(cpu) < cpus) node_of[static_cast<unsigned>(cpu)] = node->os_index;
  return node_of;
}

CoreType type_named(std::string_view name) {
  return name == "IntelCore" ? CoreType::core : name == "IntelAtom" ? CoreType::atom : CoreType::unknown;
}

// hwloc ranks by clock, too, so that alike cores may be of seventeen ranks: only what it says of them is taken.
void read_kinds(hwloc_topology_t topology, HostTopology& host) {
  const int kinds = hwloc_cpukinds_get_nr(topology, 0);
  std::vector<KindClue> clues;
  hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
  for (int kind = 0; kind < kinds; ++kind) {
    int efficiency = -1;
    unsigned count = 0;
    hwloc_info_s* infos = nullptr;
    if (hwloc_cpukinds_get_info(topology, static_cast<unsigned>(kind), cpus, &efficiency, &count, &infos, 0) != 0)
      continue;
    KindClue clue;
    for (const Pu& pu : host.pus)
      if (hwloc_bitmap_isset(cpus, pu.cpu)) clue.cpus.add(pu.cpu);
    for (unsigned i = 0; i < count; ++i) {
      const std::string_view name = infos[i].name;
      if (name == "CoreType") clue.type = type_named(infos[i].value);
      if (name == "FrequencyMaxMHz") clue.max_mhz = static_cast<unsigned>(std::strtoul(infos[i].value, nullptr, 10));
    }
    clues.push_back(std::move(clue));
  }
  hwloc_bitmap_free(cpus);
  set_kinds(clues, host);
}

void read_cpus(hwloc_topology_t topology, HostTopology& host) {
  std::vector<hwloc_obj_t> pus;
  for (hwloc_obj_t pu = nullptr; (pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) != nullptr;)
    if (pu->os_index <= CpuSet::max_cpu) pus.push_back(pu);
  std::sort(pus.begin(), pus.end(), [](hwloc_obj_t a, hwloc_obj_t b) { return a->os_index < b->os_index; });
  const auto node_of = nodes_by_cpu(topology, pus.empty() ? 0 : pus.back()->os_index + 1);
  Numbering cores, caches, packages;
  std::map<unsigned, std::uint64_t> sizes;
  host.pus.reserve(pus.size());
  for (const hwloc_obj_t pu : pus) {
    const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
    const hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, pu);
    const hwloc_obj_t cache = last_cache(topology, pu);
    if (hwloc_obj_type_is_cache(cache->type) && cache->attr->cache.size != 0)
      sizes[caches.of(cache)] = cache->attr->cache.size;
    host.pus.push_back({.cpu = pu->os_index,
                        .core = cores.of(core != nullptr ? core : pu),
                        .l3 = caches.of(cache),
                        .package = packages.of(package),
                        .node = node_of[pu->os_index],
                        .kind = 0});
  }
  for (const auto& [l3, size] : sizes) host.caches.push_back({l3, Bytes{size}});
  const hwloc_obj_t named = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
  const auto info = [&](const char* key) -> std::string {
    const char* value = hwloc_obj_get_info_by_name(named != nullptr ? named : hwloc_get_root_obj(topology), key);
    return value != nullptr ? value : "";
  };
  host.cpu_vendor = info("CPUVendor");
  host.cpu_model = info("CPUModel");
}

// ---- nodes

void read_nodes(hwloc_topology_t topology, HostTopology& host) {
  for (hwloc_obj_t found = nullptr;
       (found = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, found)) != nullptr;) {
    Node node{.id = found->os_index,
              .memory_total = Bytes{found->attr->numanode.local_memory},
              .memory_free = {},
              .pools = {},
              .distances = {}};
    std::uint64_t pooled = 0;
    for (unsigned i = 0; i < found->attr->numanode.page_types_len; ++i) {
      const auto& type = found->attr->numanode.page_types[i];
      if (type.size <= host.base_page.count || type.size == 0) continue;
      node.pools.push_back({.page = Bytes{type.size}, .total = type.count, .free = type.count});
      pooled += type.size * type.count;
    }
    std::sort(node.pools.begin(), node.pools.end(), [](const auto& a, const auto& b) { return a.page < b.page; });
    node.memory_free = Bytes{node.memory_total.count > pooled ? node.memory_total.count - pooled : 0};
    host.nodes.push_back(std::move(node));
  }
  std::sort(host.nodes.begin(), host.nodes.end(), [](const Node& a, const Node& b) { return a.id < b.id; });
}

void read_distances(hwloc_topology_t topology, HostTopology& host) {
  hwloc_distances_s* found = nullptr;
  unsigned count = 1;
  if (hwloc_distances_get_by_name(topology, "NUMALatency", &count, &found, 0) != 0 || count == 0) return;
  std::map<std::pair<unsigned, unsigned>, unsigned> table;
  for (unsigned i = 0; i < found->nbobjs; ++i)
    for (unsigned j = 0; j < found->nbobjs; ++j)
      if (found->objs[i] != nullptr && found->objs[j] != nullptr)
        table[{found->objs[i]->os_index, found->objs[j]->os_index}] =
            static_cast<unsigned>(found->values[i * found->nbobjs + j]);
  hwloc_distances_release(topology, found);
  for (Node& node : host.nodes) {
    for (const Node& to : host.nodes)
      if (const auto value = table.find({node.id, to.id}); value != table.end())
        node.distances.push_back(value->second);
    if (node.distances.size() != host.nodes.size()) node.distances.clear();
  }
}

// ---- devices

void read_devices(hwloc_topology_t topology, HostTopology& host) {
  for (hwloc_obj_t found = nullptr; (found = hwloc_get_next_pcidev(topology, found)) != nullptr;) {
    const auto& pci = found->attr->pcidev;
    PciDevice device{.address = fmt::format("{:04x}:{:02x}:{:02x}.{:x}", pci.domain, pci.bus, pci.dev, pci.func),
                     .name = found->name != nullptr ? found->name : "",
                     .class_id = fmt::format("{:04x}", pci.class_id),
                     .node = -1,
                     .os_devices = {}};
    for (hwloc_obj_t child = found->io_first_child; child != nullptr; child = child->next_sibling)
      if (child->type == HWLOC_OBJ_OS_DEVICE && child->name != nullptr) device.os_devices.emplace_back(child->name);
    if (const hwloc_obj_t local = hwloc_get_non_io_ancestor_obj(topology, found);
        local != nullptr && local->nodeset != nullptr && hwloc_bitmap_weight(local->nodeset) == 1)
      device.node = hwloc_bitmap_first(local->nodeset);
    host.devices.push_back(std::move(device));
  }
  std::sort(host.devices.begin(), host.devices.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
}

std::expected<HostTopology, std::string> checked(HostTopology host) {
  if (host.pus.empty()) return std::unexpected("hwloc found no CPU");
  if (host.nodes.empty()) host.nodes.emplace_back();
  for (Pu& pu : host.pus)  // hwloc knows of none: firmware that names no node for CPUs without memory
    if (host.node(pu.node) == nullptr) pu.node = host.nodes.front().id;
  return host;
}

std::string load_error(std::string_view what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

}  // namespace

std::expected<HostTopology, std::string> read_this_host(Devices devices, const Sysfs& sysfs) {
  const HwlocEnvironment environment(sysfs.at("/"));
  const Topology topology = new_topology(Source::this_machine, devices);
  if (topology == nullptr) return std::unexpected(load_error("hwloc cannot start"));
  // The whole machine, also what a cpuset hides: what may be used of it is read_allowed()'s to say.
  hwloc_topology_set_flags(topology.get(), HWLOC_TOPOLOGY_FLAG_NO_DISTANCES | HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS |
                                               HWLOC_TOPOLOGY_FLAG_NO_CPUKINDS |
                                               HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  if (hwloc_topology_load(topology.get()) != 0) return std::unexpected(load_error("hwloc cannot read this machine"));
  HostTopology host;
  read_cpus(topology.get(), host);
  read_nodes(topology.get(), host);
  if (devices == Devices::read) read_devices(topology.get(), host);
  read_now(sysfs, host);
  auto result = checked(std::move(host));
  if (!result) return result;
  if (const auto wrong = contradiction(sysfs, *result))
    return std::unexpected(*wrong + "; nothing is placed by a map that the kernel contradicts");
  return result;
}

std::expected<HostTopology, std::string> load_hwloc_xml(const std::string& xml) {
  const HwlocEnvironment environment;
  const Topology topology = new_topology(Source::description, Devices::read);
  if (topology == nullptr) return std::unexpected(load_error("hwloc cannot start"));
  const bool set = hwloc_topology_set_xmlbuffer(topology.get(), xml.c_str(), static_cast<int>(xml.size() + 1)) == 0;
  if (!set || hwloc_topology_load(topology.get()) != 0) return std::unexpected("is not an hwloc XML export");
  HostTopology host;
  read_cpus(topology.get(), host);
  read_kinds(topology.get(), host);
  read_nodes(topology.get(), host);
  read_distances(topology.get(), host);
  read_devices(topology.get(), host);
  return checked(std::move(host));
}

std::expected<HostTopology, std::string> read_synthetic(std::string_view description) {
  const std::string text(description);
  const HwlocEnvironment environment;
  const Topology topology = new_topology(Source::description, Devices::skip);
  if (topology == nullptr) return std::unexpected(load_error("hwloc cannot start"));
  hwloc_topology_set_flags(topology.get(), HWLOC_TOPOLOGY_FLAG_NO_DISTANCES | HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS |
                                               HWLOC_TOPOLOGY_FLAG_NO_CPUKINDS);
  if (hwloc_topology_set_synthetic(topology.get(), text.c_str()) != 0 || hwloc_topology_load(topology.get()) != 0)
    return std::unexpected(fmt::format(
        "\"{}\" is not a synthetic description hwloc can read (as in \"pack:2 [numa] l3:1 core:4 pu:2\")", text));
  HostTopology host;
  read_cpus(topology.get(), host);
  read_nodes(topology.get(), host);
  if (text.find("size=") == text.npos) host.caches.clear();
  const bool sized = text.find("memory=") != text.npos;  // without these hwloc invents sizes
  for (Node& node : host.nodes) {
    if (!sized) node.memory_total = node.memory_free = gib(64);
    node.pools = {{.page = mib(2), .total = 0, .free = 0}, {.page = gib(1), .total = 0, .free = 0}};
  }
  return checked(std::move(host));
}

}  // namespace topology
