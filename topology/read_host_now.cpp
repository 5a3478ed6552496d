// The numbers of this machine that change from minute to minute, from sysfs.
#include "topology/read_host_now.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cctype>
#include <cstdlib>
#include <map>

#include "topology/core_kinds.hpp"
#include "topology/read_host.hpp"
#include "topology/words.hpp"

namespace topology {

namespace {

constexpr const char* cpu_directory = "/sys/devices/system/cpu";
constexpr const char* node_directory = "/sys/devices/system/node";

std::optional<CpuSet> list_of(const std::optional<std::string>& text) {
  auto cpus = text ? CpuSet::parse(*text) : std::unexpected("");
  return cpus ? std::optional(*std::move(cpus)) : std::nullopt;
}

// nodeN/cpulist; cpumap where a kernel has no lists.
std::optional<CpuSet> cpus_of_node(const Sysfs& sysfs, unsigned id) {
  const std::string at = fmt::format("{}/node{}", node_directory, id);
  if (auto cpus = list_of(sysfs.read(at + "/cpulist"))) return cpus;
  const auto mask = sysfs.read(at + "/cpumap");
  auto cpus = mask ? CpuSet::parse_mask(*mask) : std::unexpected("");
  return cpus ? std::optional(*std::move(cpus)) : std::nullopt;
}

// The kernel's nodes, also those without memory, and its word on whose CPUs are whose. CPUs that it puts on no node go with
// the others of their cache or package.
void read_nodes_now(const Sysfs& sysfs, HostTopology& host) {
  const auto online = list_of(sysfs.read(std::string(node_directory) + "/online"));
  if (!online || online->empty()) return;
  std::erase_if(host.nodes, [&](const Node& node) { return !online->contains(node.id); });
  std::map<unsigned, unsigned> node_of, of_cache, of_package;
  for (const unsigned id : online->to_vector()) {
    if (host.node(id) == nullptr)
      host.nodes.push_back({.id = id, .memory_total = {}, .memory_free = {}, .pools = {}, .distances = {}});
    for (const unsigned cpu : cpus_of_node(sysfs, id).value_or(CpuSet{}).to_vector()) node_of.emplace(cpu, id);
  }
  std::sort(host.nodes.begin(), host.nodes.end(), [](const Node& a, const Node& b) { return a.id < b.id; });
  for (Pu& pu : host.pus)
    if (const auto found = node_of.find(pu.cpu); found != node_of.end()) {
      pu.node = found->second;
      of_cache.emplace(pu.l3, pu.node);
      of_package.emplace(pu.package, pu.node);
    }
  for (Pu& pu : host.pus) {
    if (node_of.contains(pu.cpu)) continue;
    if (const auto cache = of_cache.find(pu.l3); cache != of_cache.end())
      pu.node = cache->second;
    else if (const auto package = of_package.find(pu.package); package != of_package.end())
      pu.node = package->second;
    else
      pu.node = host.nodes.front().id;
  }
}

// Intel's kinds are what perf calls them. Others have clocks only, which are read where the cores' shapes differ.
void read_kinds_now(const Sysfs& sysfs, HostTopology& host) {
  std::vector<KindClue> clues;
  constexpr std::pair<const char*, CoreType> units[] = {{"/sys/devices/cpu_core/cpus", CoreType::core},
                                                        {"/sys/devices/cpu_atom/cpus", CoreType::atom},
                                                        {"/sys/devices/cpu_lowpower/cpus", CoreType::low_power}};
  for (const auto& [path, type] : units)
    if (auto cpus = list_of(sysfs.read(path))) clues.push_back({.cpus = *std::move(cpus), .type = type, .max_mhz = 0});
  if (clues.empty() && cores_differ_in_shape(host)) {
    const auto directory = sysfs.directory(cpu_directory);
    std::map<unsigned, CpuSet> by_clock;
    for (const Pu& pu : host.pus)
      if (const auto text = directory.read(fmt::format("cpu{}/cpufreq/cpuinfo_max_freq", pu.cpu)))
        by_clock[static_cast<unsigned>(std::strtoul(text->c_str(), nullptr, 10) / 1000)].add(pu.cpu);
    for (auto& [mhz, cpus] : by_clock)
      clues.push_back({.cpus = std::move(cpus), .type = CoreType::unknown, .max_mhz = mhz});
  }
  set_kinds(clues, host);
}

std::vector<HugePagePool> read_pools(const Sysfs& sysfs, const std::string& directory) {
  std::vector<HugePagePool> pools;
  for (const std::string& name : sysfs.list(directory)) {
    constexpr std::string_view prefix = "hugepages-";
    if (!name.starts_with(prefix)) continue;
    const std::uint64_t kilobytes = std::strtoull(name.c_str() + prefix.size(), nullptr, 10);
    const auto number = [&](const char* file) {
      return sysfs.read_number(fmt::format("{}/{}/{}", directory, name, file)).value_or(0);
    };
    if (kilobytes != 0) pools.push_back({kib(kilobytes), number("nr_hugepages"), number("free_hugepages")});
  }
  return pools;  // the listing is in natural order, so by size
}

void read_memory_now(const Sysfs& sysfs, HostTopology& host) {
  for (Node& node : host.nodes) {
    const auto directory = fmt::format("/sys/devices/system/node/node{}", node.id);
    const bool numa = sysfs.exists(directory);  // not there: a kernel without NUMA, then all memory is node 0's
    if (!numa && host.nodes.size() > 1) continue;
    const auto text = sysfs.read(numa ? directory + "/meminfo" : "/proc/meminfo").value_or("");
    if (text.empty()) continue;
    const std::uint64_t dirty = meminfo_kib(text, "Dirty") + meminfo_kib(text, "Writeback"),
                        cache = meminfo_kib(text, "Inactive(file)");
    node.memory_total = kib(meminfo_kib(text, "MemTotal"));
    node.memory_free = kib(meminfo_kib(text, "MemFree") + (cache > dirty ? cache - dirty : 0));
    node.pools = read_pools(sysfs, numa ? directory + "/hugepages" : "/sys/kernel/mm/hugepages");
  }
}

// A row of nodeN/distance has one number for every online node, also for those that a cpuset hides from us.
void read_distances_now(const Sysfs& sysfs, HostTopology& host) {
  const auto online = CpuSet::parse(sysfs.read("/sys/devices/system/node/online").value_or(""));
  if (!online) return;
  const auto ids = online->to_vector();
  for (Node& node : host.nodes) {
    const auto text = sysfs.read(fmt::format("/sys/devices/system/node/node{}/distance", node.id)).value_or("");
    std::map<unsigned, unsigned> row;
    node.distances.clear();
    const char* at = text.c_str();
    for (const unsigned id : ids) {
      char* end = nullptr;
      const unsigned long value = std::strtoul(at, &end, 10);
      if (end == at) break;
      row[id] = static_cast<unsigned>(value);
      at = end;
    }
    for (const Node& to : host.nodes)
      if (row.contains(to.id)) node.distances.push_back(row[to.id]);
    if (node.distances.size() != host.nodes.size()) node.distances.clear();
  }
}

void read_device_nodes(const Sysfs& sysfs, HostTopology& host) {
  for (PciDevice& device : host.devices) {
    const auto text = sysfs.read(fmt::format("/sys/bus/pci/devices/{}/numa_node", device.address));
    if (text) device.node = std::atoi(text->c_str());
  }
}

// One for vmrun alone, as machine-id(5) asks for: the number itself is to stay on the machine. "": it has none yet.
std::string read_id(const Sysfs& sysfs) {
  constexpr std::size_t digits = 32;
  const std::string text = sysfs.read("/etc/machine-id").value_or("").substr(0, digits);
  const bool whole = text.size() == digits &&
                     std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (!whole) return "";
  const auto ours = boost::uuids::name_generator_sha1(boost::uuids::ns::dns())("host.vmrun.invalid");
  return to_string(boost::uuids::name_generator_sha1(ours)(text));
}

}  // namespace

void read_now(const Sysfs& sysfs, HostTopology& host) {
  read_nodes_now(sysfs, host);
  read_kinds_now(sysfs, host);
  read_memory_now(sysfs, host);
  read_distances_now(sysfs, host);
  read_device_nodes(sysfs, host);
  if (auto isolated = CpuSet::parse(sysfs.read("/sys/devices/system/cpu/isolated").value_or("")))
    host.isolated = *std::move(isolated);
  host.allowed = read_allowed(sysfs, host);
  host.own_id = read_id(sysfs);
}

std::string shape_key(const Sysfs& sysfs) {
  std::string key = sysfs.read("/proc/sys/kernel/random/boot_id").value_or("");
  for (const char* directory : {cpu_directory, node_directory})
    key += " " + sysfs.read(std::string(directory) + "/online").value_or("");
  return key;
}

std::optional<HostTopology> read_again(HostTopology known, const Sysfs& sysfs) {
  read_now(sysfs, known);
  if (known.pus.empty() || known.nodes.empty() || contradiction(sysfs, known)) return std::nullopt;
  return known;
}

std::optional<std::string> contradiction(const Sysfs& sysfs, const HostTopology& host) {
  const auto differs = [](std::string_view what, const CpuSet& here, const CpuSet& kernel, std::string_view file) {
    return fmt::format("{} has CPUs {} by hwloc, but {} by {}", what, here.to_string(), kernel.to_string(), file);
  };
  const std::string online = std::string(cpu_directory) + "/online";
  const CpuSet all = host.all_cpus();
  if (const auto kernel = list_of(sysfs.read(online)); kernel && *kernel != all)
    return differs("this host", all, *kernel, online);
  for (const Node& node : host.nodes) {
    const auto kernel = cpus_of_node(sysfs, node.id);
    const CpuSet here = host.cpus_of_node(node.id);
    if (kernel && !here.contains(*kernel & all))
      return differs(fmt::format("node {}", node.id), here, *kernel, fmt::format("{}/node{}", node_directory, node.id));
  }
  std::map<unsigned, CpuSet> cores;
  for (const Pu& pu : host.pus) cores[pu.core].add(pu.cpu);
  const auto directory = sysfs.directory(cpu_directory);
  for (const auto& [core, cpus] : cores) {
    const std::string file = fmt::format("cpu{}/topology/thread_siblings_list", cpus.first());
    if (const auto kernel = list_of(directory.read(file)); kernel && (*kernel & all) != cpus)
      return differs(fmt::format("the core of CPU {}", cpus.first()), cpus, *kernel, file);
  }
  return std::nullopt;
}

}  // namespace topology
