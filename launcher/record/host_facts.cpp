// The table of facts about a host: one row each, and a function where a file's text is not the value.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "launcher/record/fact.hpp"

namespace launcher::inline record {

namespace {

constexpr std::string_view cpus = "/sys/devices/system/cpu";

// "always [madvise] never": the marked one.
std::string chosen(const std::string& text) {
  const std::size_t from = text.find('['), to = text.find(']', from);
  return from == text.npos || to == text.npos ? text : text.substr(from + 1, to - from - 1);
}

Values choice(const HostSource& source, const FactRow& row) {
  const auto text = source.root.read(row.path);
  return text ? Values{{std::string(row.name), chosen(*text)}} : Values{};
}

// A file of each CPU: "performance on 0-7", "powersave on 0-3; performance on 4-7".
Values per_cpu(const HostSource& source, const FactRow& row) {
  std::map<std::string, topology::CpuSet> found;
  for (const topology::Pu& pu : source.topology.pus)
    if (const auto text = source.root.read(fmt::format("{}/cpu{}/{}", cpus, pu.cpu, row.path)))
      found[*text].add(pu.cpu);
  std::vector<std::string> parts;
  for (const auto& [value, on] : found) parts.push_back(fmt::format("{} on {}", value, on.to_string()));
  return parts.empty() ? Values{} : Values{{std::string(row.name), fmt::format("{}", fmt::join(parts, "; "))}};
}

// Sleep states that are switched off: "state2 (C6) on 0-3".
Values idle_states(const HostSource& source, const FactRow& row) {
  std::map<std::string, topology::CpuSet> off, there;
  for (const topology::Pu& pu : source.topology.pus) {
    const std::string dir = fmt::format("{}/cpu{}/cpuidle", cpus, pu.cpu);
    for (const std::string& state : source.root.list(dir)) {
      const std::string name = source.root.read(fmt::format("{}/{}/name", dir, state)).value_or(state);
      there[name].add(pu.cpu);
      if (source.root.read(fmt::format("{}/{}/disable", dir, state)) == "1") off[name].add(pu.cpu);
    }
  }
  if (there.empty()) return {};
  std::vector<std::string> parts;
  for (const auto& [name, on] : there) {
    const std::string without = off.contains(name) ? off[name].to_string() : "";
    parts.push_back(without.empty() ? name : fmt::format("{} (off on {})", name, without));
  }
  return {{std::string(row.name), fmt::format("{}", fmt::join(parts, "; "))}};
}

// Every file of a directory.
Values files_of(const HostSource& source, const FactRow& row) {
  Values found;
  for (const std::string& name : source.root.list(row.path))
    if (const auto text = source.root.read(fmt::format("{}/{}", row.path, name))) found[name] = *text;
  return found;
}

// The parameters of these modules, as "kvm_intel.nested".
Values parameters(const HostSource& source, const FactRow&) {
  Values found;
  for (const char* module : {"kvm", "kvm_intel", "kvm_amd", "vhost_net", "vhost", "vfio_iommu_type1"}) {
    const std::string dir = fmt::format("/sys/module/{}/parameters", module);
    for (const std::string& name : source.root.list(dir))
      if (const auto text = source.root.read(dir + "/" + name)) found[fmt::format("{}.{}", module, name)] = *text;
  }
  return found;
}

// Fields of /proc/cpuinfo's first CPU; flags sorted, so that only one that comes or goes is a difference.
Values cpuinfo(const HostSource& source, const FactRow&) {
  static constexpr std::array<std::string_view, 8> fields{"vendor_id", "cpu family", "model",     "model name",
                                                          "stepping",  "flags",      "vmx flags", "bugs"};
  Values found;
  std::istringstream lines(source.root.read("/proc/cpuinfo").value_or(""));
  for (std::string line; std::getline(lines, line) && !line.empty();) {
    const std::size_t colon = line.find(':');
    if (colon == line.npos) continue;
    std::string name = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    if (std::ranges::find(fields, name) == fields.end()) continue;
    std::string value = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
    if (name == "flags" || name == "vmx flags" || name == "bugs") {
      std::istringstream in(value);
      const std::set<std::string> words{std::istream_iterator<std::string>(in), {}};
      value = fmt::format("{}", fmt::join(words, " "));
    }
    found[name] = value;
  }
  return found;
}

Values words(const HostSource& source, const FactRow&) { return boot_words(source); }

// Each node's memory as the firmware told it. MemTotal is what the kernel's own tables leave of it, which differs from hour to hour where
// they are made late, or given back while pages lie in a pool (vm.hugetlb_optimize_vmemmap).
std::map<unsigned, topology::Bytes> present_memory(const topology::Sysfs& root) {
  constexpr std::uint64_t page = 4096;
  std::map<unsigned, topology::Bytes> present;
  std::istringstream lines(root.read("/proc/zoneinfo").value_or(""));
  unsigned node = 0;
  for (std::string line; std::getline(lines, line);) {  // "Node 0, zone   Normal", then "        present  5505024"
    std::istringstream words(line);
    std::string word;
    std::uint64_t number = 0;
    if (!(words >> word >> number)) continue;
    if (word == "Node") node = static_cast<unsigned>(number);
    if (word == "present") present[node].count += number * page;
  }
  return present;
}

Values topology_facts(const HostSource& source, const FactRow&) {
  const topology::HostTopology& host = source.topology;
  std::set<unsigned> packages, cores, caches;
  for (const topology::Pu& pu : host.pus) packages.insert(pu.package), cores.insert(pu.core), caches.insert(pu.l3);
  Values found{{"CPUs", host.all_cpus().to_string()},       {"packages", std::to_string(packages.size())},
               {"cores", std::to_string(cores.size())},     {"last-level caches", std::to_string(caches.size())},
               {"CPU kinds", std::to_string(host.kinds())}, {"isolated", host.isolated.to_string()}};
  const std::map<unsigned, topology::Bytes> present = present_memory(source.root);
  for (const topology::Node& node : host.nodes) {
    const auto told = present.find(node.id);
    found[fmt::format("node {} CPUs", node.id)] = host.cpus_of_node(node.id).to_string();
    found[fmt::format("node {} memory", node.id)] = to_string(told == present.end() ? node.memory_total : told->second);
    found[fmt::format("node {} distances", node.id)] = fmt::format("{}", fmt::join(node.distances, " "));
  }
  for (const topology::Cache& cache : host.caches) {
    std::string& sizes = found["last-level cache sizes"];
    sizes += (sizes.empty() ? "" : " ") + to_string(cache.size);
  }
  for (const topology::Pu& pu : host.pus) {
    std::string& siblings = found["cores' CPUs"];
    if (host.cpus_of_core(pu.core).to_vector().front() == pu.cpu)
      siblings += (siblings.empty() ? "" : " ") + host.cpus_of_core(pu.core).to_string();
  }
  return found;
}

Values pools(const HostSource& source, const FactRow&) {
  Values found;
  for (const topology::Node& node : source.topology.nodes)
    for (const topology::HugePagePool& pool : node.pools)
      found[fmt::format("node {} pages of {}", node.id, to_string(pool.page))] = std::to_string(pool.total);
  return found;
}

Values allowed(const HostSource& source, const FactRow&) {
  const topology::Allowed& bounds = source.topology.allowed;
  Values found;
  if (bounds.cpus) found["allowed CPUs"] = bounds.cpus->to_string();
  if (bounds.nodes) found["allowed nodes"] = bounds.nodes->to_string();
  if (bounds.memory) found["allowed memory"] = to_string(*bounds.memory);
  return found;
}

}  // namespace

// NOLINTNEXTLINE(readability-function-size): a table
const std::vector<FactRow>& fact_table() {
  using enum Grade;
  static const std::vector<FactRow> table = {
      {"kernel", "release", changes, "", "/proc/sys/kernel/osrelease"},
      {"kernel", "version", changes, "", "/proc/sys/kernel/version"},
      {"kernel", "live patches", changes, "", "/sys/kernel/livepatch", live_patches},
      {"kernel", "kvm's source", changes, "", "/sys/module/kvm/srcversion"},
      {"kernel", "kvm_intel's source", changes, "", "/sys/module/kvm_intel/srcversion"},
      {"kernel", "kvm_amd's source", changes, "", "/sys/module/kvm_amd/srcversion"},
      {"boot line", "", changes, "", "", words},
      {"cpu", "", changes, "", "", cpuinfo},
      {"cpu", "microcode", changes, "microcode", "microcode/version", per_cpu},
      {"cpu", "online", changes, "", "/sys/devices/system/cpu/online"},
      {"cpu", "possible", changes, "", "/sys/devices/system/cpu/possible"},
      {"cpu", "SMT", changes, "smt", "/sys/devices/system/cpu/smt/control"},
      {"vulnerabilities", "", changes, "vulnerabilities", "/sys/devices/system/cpu/vulnerabilities", files_of},
      {"firmware", "vendor", may, "", "/sys/class/dmi/id/bios_vendor"},
      {"firmware", "version", changes, "", "/sys/class/dmi/id/bios_version"},
      {"firmware", "release", may, "", "/sys/class/dmi/id/bios_release"},
      {"firmware", "date", may, "", "/sys/class/dmi/id/bios_date"},
      {"firmware", "board", may, "", "/sys/class/dmi/id/board_name"},
      {"power", "governor", changes, "governor", "cpufreq/scaling_governor", per_cpu},
      {"power", "driver", changes, "cpufreq-driver", "cpufreq/scaling_driver", per_cpu},
      {"power", "lowest clock", changes, "frequency-limit", "cpufreq/scaling_min_freq", per_cpu},
      {"power", "highest clock", changes, "frequency-limit", "cpufreq/scaling_max_freq", per_cpu},
      {"power", "energy preference", changes, "energy-preference", "cpufreq/energy_performance_preference", per_cpu},
      {"power", "energy bias", changes, "energy-perf-bias", "power/energy_perf_bias", per_cpu},
      {"power", "latency limit", changes, "c-states", "power/pm_qos_resume_latency_us", per_cpu},
      {"power", "sleep states", changes, "c-states", "", idle_states},
      {"power", "idle driver", changes, "idle-poll", "/sys/devices/system/cpu/cpuidle/current_driver"},
      {"power", "idle governor", may, "", "/sys/devices/system/cpu/cpuidle/current_governor"},
      {"power", "boost", changes, "turbo", "/sys/devices/system/cpu/cpufreq/boost"},
      {"power", "no_turbo", changes, "turbo", "/sys/devices/system/cpu/intel_pstate/no_turbo"},
      {"power", "intel_pstate", changes, "cpufreq-driver", "/sys/devices/system/cpu/intel_pstate/status"},
      {"power", "amd_pstate", changes, "cpufreq-driver", "/sys/devices/system/cpu/amd_pstate/status"},
      {"power", "highest share of the clock", changes, "frequency-limit",
       "/sys/devices/system/cpu/intel_pstate/max_perf_pct"},
      {"power", "lowest share of the clock", changes, "frequency-limit",
       "/sys/devices/system/cpu/intel_pstate/min_perf_pct"},
      {"power", "boost for I/O", may, "", "/sys/devices/system/cpu/intel_pstate/hwp_dynamic_boost"},
      {"power", "", changes, "", "/sys/devices/system/cpu/intel_uncore_frequency", uncore_limits},
      {"power", "energy-efficient turbo", may, "energy-efficient-turbo",
       "/sys/devices/system/cpu/intel_pstate/energy_efficiency"},
      {"power", "platform profile", changes, "", "/sys/firmware/acpi/platform_profile"},
      {"clock", "source", changes, "clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"},
      {"memory", "transparent huge pages", changes, "transparent-huge-pages",
       "/sys/kernel/mm/transparent_hugepage/enabled", choice},
      {"memory", "their defragmentation", changes, "transparent-huge-pages",
       "/sys/kernel/mm/transparent_hugepage/defrag", choice},
      {"memory", "those of shared memory", changes, "transparent-huge-pages",
       "/sys/kernel/mm/transparent_hugepage/shmem_enabled", choice},
      {"memory", "", changes, "transparent-huge-pages", "/sys/kernel/mm/transparent_hugepage", page_sizes},
      {"memory", "khugepaged's defragmentation", may, "", "/sys/kernel/mm/transparent_hugepage/khugepaged/defrag"},
      {"memory", "khugepaged's pages a scan", may, "", "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan"},
      {"memory", "khugepaged's sleep", may, "", "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs"},
      {"memory", "KSM's pages a scan", may, "ksm", "/sys/kernel/mm/ksm/pages_to_scan"},
      {"memory", "KSM's sleep", may, "ksm", "/sys/kernel/mm/ksm/sleep_millisecs"},
      {"memory", "demotion to slower nodes", changes, "", "/sys/kernel/mm/numa/demotion_enabled"},
      {"memory", "compressed swap", may, "", "/sys/module/zswap/parameters/enabled"},
      {"memory", "KSM", changes, "ksm", "/sys/kernel/mm/ksm/run"},
      {"memory", "KSM across nodes", may, "ksm", "/sys/kernel/mm/ksm/merge_across_nodes"},
      {"memory", "NUMA balancing", changes, "numa-balancing", "/proc/sys/kernel/numa_balancing"},
      {"memory", "base page reclaim", may, "", "/sys/kernel/mm/lru_gen/enabled"},
      {"memory", "swap", may, "swappiness", "/proc/swaps",
       [](const HostSource& source, const FactRow& row) {
         const std::string text = source.root.read(row.path).value_or("");
         return text.empty() ? Values{} : Values{{"swap", text.find('\n') == text.npos ? "none" : "some"}};
       }},
      {"pools", "", cosmetic, "", "", pools},
      {"kvm", "", changes, "", "", parameters},
      {"isolation", "isolated", changes, "isolcpus", "/sys/devices/system/cpu/isolated"},
      {"isolation", "nohz_full", changes, "nohz-full", "/sys/devices/system/cpu/nohz_full"},
      {"isolation", "interrupts of new devices", may, "irq-affinity", "/proc/irq/default_smp_affinity"},
      {"isolation", "workqueues", may, "workqueues", "/sys/devices/virtual/workqueue/cpumask"},
      {"isolation", "cache and bandwidth of all others", changes, "", "/sys/fs/resctrl/schemata"},
      {"isolation", "tuned profile", changes, "tuned", "/etc/tuned/active_profile"},
      {"isolation", "", changes, "", "", allowed},
      {"sysctl", "vm.min_free_kbytes", may, "min-free", "/proc/sys/vm/min_free_kbytes"},
      {"sysctl", "vm.swappiness", may, "swappiness", "/proc/sys/vm/swappiness"},
      {"sysctl", "vm.overcommit_memory", may, "overcommit", "/proc/sys/vm/overcommit_memory"},
      {"sysctl", "vm.zone_reclaim_mode", changes, "zone-reclaim", "/proc/sys/vm/zone_reclaim_mode"},
      {"sysctl", "vm.nr_overcommit_hugepages", may, "", "/proc/sys/vm/nr_overcommit_hugepages"},
      {"sysctl", "vm.compaction_proactiveness", may, "", "/proc/sys/vm/compaction_proactiveness"},
      {"sysctl", "vm.stat_interval", may, "", "/proc/sys/vm/stat_interval"},
      {"sysctl", "vm.dirty_ratio", may, "", "/proc/sys/vm/dirty_ratio"},
      {"sysctl", "vm.dirty_background_ratio", may, "", "/proc/sys/vm/dirty_background_ratio"},
      {"sysctl", "kernel.sched_rt_runtime_us", changes, "", "/proc/sys/kernel/sched_rt_runtime_us"},
      {"sysctl", "kernel.sched_autogroup_enabled", may, "", "/proc/sys/kernel/sched_autogroup_enabled"},
      {"sysctl", "kernel.watchdog", may, "", "/proc/sys/kernel/watchdog"},
      {"sysctl", "kernel.nmi_watchdog", may, "", "/proc/sys/kernel/nmi_watchdog"},
      {"sysctl", "kernel.timer_migration", may, "", "/proc/sys/kernel/timer_migration"},
      {"sysctl", "kernel.randomize_va_space", may, "", "/proc/sys/kernel/randomize_va_space"},
      {"sysctl", "kernel.io_uring_disabled", changes, "io-uring-disabled", "/proc/sys/kernel/io_uring_disabled"},
      {"sysctl", "fs.aio-max-nr", may, "aio-limit", "/proc/sys/fs/aio-max-nr"},
      {"sysctl", "net.core.rmem_max", may, "socket-buffers", "/proc/sys/net/core/rmem_max"},
      {"sysctl", "net.core.wmem_max", may, "socket-buffers", "/proc/sys/net/core/wmem_max"},
      {"sysctl", "net.core.rmem_default", may, "socket-buffers", "/proc/sys/net/core/rmem_default"},
      {"sysctl", "net.core.wmem_default", may, "socket-buffers", "/proc/sys/net/core/wmem_default"},
      {"sysctl", "net.ipv4.tcp_rmem", may, "socket-buffers", "/proc/sys/net/ipv4/tcp_rmem"},
      {"sysctl", "net.ipv4.tcp_wmem", may, "socket-buffers", "/proc/sys/net/ipv4/tcp_wmem"},
      {"sysctl", "net.ipv4.tcp_congestion_control", changes, "", "/proc/sys/net/ipv4/tcp_congestion_control"},
      {"sysctl", "net.core.default_qdisc", may, "", "/proc/sys/net/core/default_qdisc"},
      {"sysctl", "net.core.netdev_max_backlog", may, "backlog", "/proc/sys/net/core/netdev_max_backlog"},
      {"sysctl", "net.core.somaxconn", may, "listen-queue", "/proc/sys/net/core/somaxconn"},
      {"sysctl", "net.core.busy_poll", changes, "", "/proc/sys/net/core/busy_poll"},
      {"sysctl", "net.core.busy_read", changes, "", "/proc/sys/net/core/busy_read"},
      {"sysctl", "net.bridge.bridge-nf-call-iptables", changes, "bridge-netfilter",
       "/proc/sys/net/bridge/bridge-nf-call-iptables"},
      {"sysctl", "net.bridge.bridge-nf-call-ip6tables", changes, "bridge-netfilter",
       "/proc/sys/net/bridge/bridge-nf-call-ip6tables"},
      {"sysctl", "net.bridge.bridge-nf-call-arptables", changes, "bridge-netfilter",
       "/proc/sys/net/bridge/bridge-nf-call-arptables"},
      {"sysctl", "", may, "", "", more_sysctls},
      {"topology", "", changes, "", "", topology_facts},
  };
  return table;
}

Groups host_facts(const HostSource& source) {
  Groups found;
  for (const FactRow& row : fact_table()) {
    if (row.read != nullptr) {
      for (auto& [name, value] : row.read(source, row)) found[std::string(row.group)][name] = value;
    } else if (const auto text = source.root.read(row.path)) {
      found[std::string(row.group)][std::string(row.name)] = *text;
    }
  }
  return found;
}

}  // namespace launcher::record
