// `vmrun host`: the machine as vmrun sees it; with --json what `vmrun plan --host FILE` reads. `vmrun schema`: for editors.
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "launcher/commands/commands.hpp"
#include "topology/read_host.hpp"

namespace launcher::commands {

namespace {

std::string node_text(const topology::HostTopology& host, const topology::Node& node, const HostConfig& config,
                      const topology::Reservations& taken) {
  std::string text =
      fmt::format("node {}: CPUs {}, {} MiB free of {}\n", node.id, host.cpus_of_node(node.id).to_string(),
                  node.memory_free.count >> 20, node.memory_total.count >> 20);
  for (const topology::HugePagePool& pool : node.pools) {
    if (pool.total > 0) text += fmt::format("  {} pages: {} free of {}\n", to_string(pool.page), pool.free, pool.total);
  }
  const topology::CpuSet free = topology::free_cpus(host, config.policy, taken) & host.cpus_of_node(node.id);
  text += fmt::format("  free for VMs: CPUs {}\n", free.empty() ? "none" : free.to_string());
  for (const topology::Reservation& vm : taken.vms) {
    const topology::CpuSet here = vm.cpus & host.cpus_of_node(node.id);
    if (!here.empty()) text += fmt::format("  VM {} owns: CPUs {}\n", vm.owner, here.to_string());
  }
  return text;
}

}  // namespace

int host(const Options& options) {
  auto topology = topology::read_this_host(topology::Devices::read);
  if (!topology) throw std::runtime_error("cannot read this host: " + topology.error());
  const HostConfig config = host_config_or_throw(options);
  const auto binary = find_qemu(config.qemu);
  const auto features = binary ? qemu_features(*binary, Cache::read_only) : std::unexpected(binary.error());
  if (options.flag("json")) {
    boost::json::object out{{"host", boost::json::parse(to_json(*topology))}};
    if (features) out["qemu"] = boost::json::parse(to_json(*features));
    print_json(out);
    return done;
  }
  const topology::Reservations taken = read_reservations(run_base());
  std::string text = fmt::format("{}\n{} CPUs in {} nodes, {} threads per core\n",
                                 topology->cpu_model.empty() ? "CPU of unknown model" : topology->cpu_model,
                                 topology->pus.size(), topology->nodes.size(), topology->threads_per_core());
  const topology::CpuSet housekeeping = config.policy.housekeeping.value_or(topology::default_housekeeping(*topology));
  text += fmt::format("housekeeping: {}\n", housekeeping.empty() ? "no CPU (the machine is too small to keep one)"
                                                                 : "CPUs " + housekeeping.to_string());
  for (const topology::Node& node : topology->nodes) text += node_text(*topology, node, config, taken);
  text += features ? fmt::format("QEMU {} at {}\n", features->version, features->binary) : features.error() + "\n";
  print(text);
  return done;
}

int schema(const Options&) {
  print(json_schema() + "\n");
  return done;
}

}  // namespace launcher::commands
