#include "launcher/watch/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/sample.hpp"
#include "topology/host_topology.hpp"
#include "topology/reservations.hpp"

namespace launcher::inline watch {

namespace {

constexpr double in_ns = 1e-9;

void add_phase(Metrics& metrics, const Labels& vm, const std::string& phase) {
  for (const std::string one : {"starting", "running", "paused", "stopping", "crashed"})
    metrics.gauge("vmrun_vm_phase", "1 for the phase that the VM is in", with(vm, "phase", one), one == phase ? 1 : 0);
}

void add_thread(Metrics& metrics, const Labels& vm, const ThreadCounts& thread) {
  const Labels of = with(vm, "role", thread.role);
  metrics.counter("vmrun_thread_run_seconds", "Time that threads of this role ran", of,
                  static_cast<double>(thread.ran_ns) * in_ns);
  metrics.counter("vmrun_thread_delay_seconds", "Time that they were ready and did not run", of,
                  static_cast<double>(thread.delay_ns) * in_ns);
  metrics.counter("vmrun_thread_switches", "Times that they gave up their CPU, or had to",
                  with(of, "kind", "voluntary"), static_cast<double>(thread.voluntary));
  metrics.counter("vmrun_thread_switches", "Times that they gave up their CPU, or had to",
                  with(of, "kind", "involuntary"), static_cast<double>(thread.involuntary));
  if (!thread.role.starts_with("vcpu ")) return;
  const Labels vcpu = with(vm, "vcpu", thread.role.substr(5));
  metrics.counter("libvirt_domain_vcpu_time_seconds", "CPU time of the vCPU's thread", vcpu,
                  static_cast<double>(thread.ran_ns) * in_ns);
  metrics.counter("libvirt_domain_vcpu_delay_seconds", "Time that the vCPU's thread was ready and did not run", vcpu,
                  static_cast<double>(thread.delay_ns) * in_ns);
}

// Threads of one role and VM are one sample: a VM may have several workers of a kind.
void add_threads(Metrics& metrics, const Labels& vm, const Subject& subject) {
  Sample sample;
  std::map<std::string, ThreadCounts> by_role;
  double all = 0;
  for (const ThreadCounts& thread : count_threads(subject, sample)) {
    ThreadCounts& sum = by_role[thread.role];
    sum.role = thread.role;
    sum.ran_ns += thread.ran_ns;
    sum.delay_ns += thread.delay_ns;
    sum.voluntary += thread.voluntary;
    sum.involuntary += thread.involuntary;
    all += static_cast<double>(thread.ran_ns) * in_ns;
  }
  metrics.counter("libvirt_domain_info_cpu_time_seconds", "CPU time of the VM, all of its threads", vm, all);
  for (const auto& [role, thread] : by_role) add_thread(metrics, vm, thread);
  metrics.gauge("vmrun_threads_not_as_planned", "Promises about threads (CPUs, policy, group) that are not held", vm,
                static_cast<double>(count(prove_threads(subject), Outcome::lost)));
}

void add_memory(Metrics& metrics, const Labels& vm, const Subject& subject) {
  double maximum = 0, used = 0;
  for (const topology::MemoryCell& cell : subject.plan.placement.cells) maximum += static_cast<double>(cell.size.count);
  std::map<std::pair<unsigned, std::string>, double> by_node;
  for (const topology::MappedRange& range : subject.maps)
    for (const auto& [node, pages] : range.pages_on_node) {
      const double bytes = static_cast<double>(pages) * static_cast<double>(range.page.count);
      used += bytes;
      by_node[{node, to_string(range.page)}] += bytes;
    }
  metrics.gauge("libvirt_domain_info_maximum_memory_bytes", "Memory that the VM was given", vm, maximum);
  metrics.gauge("libvirt_domain_info_virtual_cpus", "Its vCPUs", vm,
                static_cast<double>(subject.plan.placement.vcpus.size()));
  if (!subject.no_maps.empty()) return;
  metrics.gauge("libvirt_domain_info_memory_usage_bytes", "Memory that its QEMU has in use, huge pages included", vm,
                used);
  for (const auto& [place, bytes] : by_node)
    metrics.gauge("vmrun_memory_bytes", "Memory of the VM's QEMU by node and size of page",
                  with(with(vm, "node", std::to_string(place.first)), "page", place.second), bytes);
  Sample sample;
  const MemoryCounts counts = count_memory(subject, true, sample);
  if (counts.remote)
    metrics.gauge("vmrun_memory_remote_bytes", "Guest memory on nodes that it was not planned for", vm,
                  static_cast<double>(*counts.remote));
  metrics.counter("libvirt_domain_memory_stats_major_fault", "Times that QEMU waited for memory from a disk", vm,
                  static_cast<double>(counts.major_faults));
}

}  // namespace

void add_vm(Metrics& metrics, const std::string& name, const std::string& phase, const Subject& subject) {
  const Labels vm = {{"domain", name}};
  add_phase(metrics, vm, phase);
  metrics.gauge("vmrun_vm_start_time_seconds", "When it was started, in seconds since 1970", vm,
                static_cast<double>(subject.state.since));
  metrics.gauge("vmrun_vm_own_cpus", "CPUs that nobody else may have", vm, subject.plan.placement.exclusive.size());
  add_threads(metrics, vm, subject);
  add_memory(metrics, vm, subject);
  add_devices(metrics, vm, subject);
  add_kvm(metrics, vm, subject);
}

void add_host(Metrics& metrics, const topology::HostTopology& host, const topology::HostPolicy& policy,
              const topology::Reservations& taken) {
  const topology::CpuSet housekeeping = policy.housekeeping.value_or(default_housekeeping(host));
  const std::array<std::pair<const char*, topology::CpuSet>, 4> cpus = {{{"all", host.all_cpus()},
                                                                         {"owned", taken.cpus()},
                                                                         {"housekeeping", housekeeping},
                                                                         {"free", free_cpus(host, policy, taken)}}};
  for (const auto& [what, set] : cpus)
    metrics.gauge("vmrun_host_cpus", "CPUs of this host, by who has them", {{"state", what}}, set.size());
  for (const topology::Node& node : host.nodes) {
    const Labels of = {{"node", std::to_string(node.id)}};
    metrics.gauge("vmrun_node_memory_free_bytes", "Memory that is free or clean page cache", of,
                  static_cast<double>(node.memory_free.count));
    for (const topology::HugePagePool& pool : node.pools) {
      const Labels page = with(of, "page", to_string(pool.page));
      metrics.gauge("vmrun_pool_pages", "Huge pages of the node's pool", page, static_cast<double>(pool.total));
      metrics.gauge("vmrun_pool_free_pages", "Those that are free", page, static_cast<double>(pool.free));
    }
  }
}

}  // namespace launcher::watch
