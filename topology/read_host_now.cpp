// The numbers of this machine that change from minute to minute, from sysfs.
#include "topology/read_host_now.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "topology/words.hpp"

namespace topology {

namespace {

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

}  // namespace

void read_now(const Sysfs& sysfs, HostTopology& host) {
  read_memory_now(sysfs, host);
  read_distances_now(sysfs, host);
  read_device_nodes(sysfs, host);
  if (auto isolated = CpuSet::parse(sysfs.read("/sys/devices/system/cpu/isolated").value_or("")))
    host.isolated = *std::move(isolated);
}

}  // namespace topology
