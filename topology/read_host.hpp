// A machine -> HostTopology. hwloc is known to read_host.cpp, and to marked_xml.cpp, which draws. The rule: read-only, and cheap (no PCI scan unless
// a caller wants devices), since every warm start pays for it.
#pragma once

#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "topology/host_topology.hpp"
#include "topology/sysfs.hpp"

namespace topology {

enum class Devices { skip, read };

// This machine: hwloc for cores and caches, sysfs for the nodes' CPUs, kinds, pools, free memory, distances, isolcpus and
// what this process was allowed. Error also when hwloc and the kernel contradict each other.
std::expected<HostTopology, std::string> read_this_host(Devices devices, const Sysfs& sysfs = Sysfs{});

// The same of what read_this_host() without devices gave earlier, with what changes from minute to minute read anew, and without hwloc,
// which opens thirty files for each CPU. As long as shape_key() is the same: this boot, and the CPUs and nodes that are online.
// nullopt: the kernel contradicts it, so it is to be read whole.
std::string shape_key(const Sysfs& sysfs);
std::optional<HostTopology> read_again(HostTopology known, const Sysfs& sysfs);

// hwloc's synthetic description: "pack:2 [numa] l3:1 core:4 pu:2". Nodes without a size get 64G, all free; every node
// has an empty 2M and 1G pool.
std::expected<HostTopology, std::string> read_synthetic(std::string_view description);

// What `--host ARG` means: "synthetic:DESC", an hwloc XML export (first non-blank byte is '<'; pools and memory are all
// free), or our JSON.
// JSON may be a HostTopology or an object whose member "host" is one.
std::expected<HostTopology, std::string> read_host_argument(std::string_view argument);

// A text in a CPU's box of a drawing, and a colour ("#9ecae1") behind it.
struct CpuMark {
  unsigned cpu = 0;
  std::string text, colour;
};

// This machine as hwloc XML for lstopo to draw, with everything hwloc knows and the marks on it.
std::expected<std::string, std::string> marked_xml(const std::vector<CpuMark>& marks);

}  // namespace topology
