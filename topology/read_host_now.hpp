// What sysfs says of this machine at this moment; for read_host.cpp alone.
#pragma once

#include "topology/host_topology.hpp"
#include "topology/sysfs.hpp"

namespace topology {

// Memory, pools, distances, the nodes of devices and isolcpus, into a host whose CPUs, nodes and devices are known.
// What the kernel does not tell stays as it is.
void read_now(const Sysfs& sysfs, HostTopology& host);

}  // namespace topology
