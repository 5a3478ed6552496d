// What sysfs says of this machine at this moment; for read_host*.cpp alone.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "topology/host_topology.hpp"
#include "topology/sysfs.hpp"

namespace topology {

// The nodes and their CPUs, kinds, memory, pools, distances, the nodes of devices, isolcpus and what is allowed, into a host
// whose CPUs and devices are known. What the kernel does not tell stays as it is.
void read_now(const Sysfs& sysfs, HostTopology& host);

// What of the host is not as the kernel has it (CPUs online, each node's CPUs, each core's siblings), in words.
std::optional<std::string> contradiction(const Sysfs& sysfs, const HostTopology& host);

// What this process may use: the kernel's merged masks in /proc/self/status, the cgroup (v1 and v2) of /proc/self/cgroup,
// the memory policy in /proc/self/numa_maps. In allowed.cpp.
Allowed read_allowed(const Sysfs& sysfs, const HostTopology& host);

// Here and now, by libhwloc: to be called where it may die. Error: what the file is not.
std::expected<HostTopology, std::string> load_hwloc_xml(const std::string& xml);

}  // namespace topology
