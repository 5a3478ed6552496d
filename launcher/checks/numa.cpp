// The nodes that the machine shows, and whether each has memory.
#include <fmt/format.h>

#include <set>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

void numa_nodes(const Audit& audit, Findings& findings) {
  std::set<unsigned> packages;
  for (const topology::Pu& pu : audit.host().pus) packages.insert(pu.package);
  const std::string path = "/sys/devices/system/node/online";
  if (audit.is_vm()) return;
  if (packages.size() > audit.host().nodes.size()) {
    findings.want(Level::warning,
                  fmt::format("{} sockets, but {} node{}", packages.size(), audit.host().nodes.size(),
                              audit.host().nodes.size() == 1 ? "" : "s"),
                  {path}, "a node for each socket",
                  audit.boot().has("numa", "off")
                      ? "at the next boot"
                      : firmware_now("\"NUMA optimized\" = Enabled (node interleaving off)"),
                  audit.boot().has("numa", "off") ? "take numa=off off the kernel's command line" : "");
    return;
  }
  bool all = true;
  for (const topology::Node& node : audit.host().nodes) {
    if (node.memory_total.count != 0 || audit.host().cpus_of_node(node.id).empty()) continue;
    all = false;
    findings
        .want(Level::warning, "it has CPUs and no memory",
              {fmt::format("/sys/devices/system/node/node{}/meminfo", node.id)}, "memory in every socket",
              "put DIMMs beside this socket")
        .subject = fmt::format("node {}", node.id);
  }
  if (all)
    findings.ok(fmt::format("{} socket{}, {} node{} with memory", packages.size(), packages.size() == 1 ? "" : "s",
                            audit.host().nodes.size(), audit.host().nodes.size() == 1 ? "" : "s"),
                {path});
}

}  // namespace

std::vector<Check> numa_checks() {
  return {
      {"numa-nodes", "memory", "001 2.1 \"NUMA optimized\", 002 \"Understanding your NUMA topology\"",
       "interleaved memory is remote for every second access, and nobody can place anything",
       "every VM on a machine with several sockets", "a reboot", numa_nodes, concerns::every},
  };
}

}  // namespace launcher::checks
