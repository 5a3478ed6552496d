// Facts of which there are many of one kind: sysctls that move results a little, sizes of transparent huge pages, limits of the uncore.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "launcher/record/fact.hpp"
#include "topology/words.hpp"

namespace launcher::inline record {

namespace {

// Left out: what the kernel changes by itself (perf_event_max_sample_rate, tcp_mem) and what is a secret (tcp_fastopen_key).
constexpr std::array sysctls{"kernel.bpf_stats_enabled",
                             "kernel.numa_balancing_promote_rate_limit_MBps",
                             "kernel.perf_cpu_time_max_percent",
                             "kernel.sched_cfs_bandwidth_slice_us",
                             "kernel.sched_energy_aware",
                             "kernel.sched_itmt_enabled",
                             "kernel.sched_rr_timeslice_ms",
                             "kernel.sched_rt_period_us",
                             "kernel.sched_schedstats",
                             "kernel.sched_util_clamp_max",
                             "kernel.sched_util_clamp_min",
                             "kernel.soft_watchdog",
                             "kernel.split_lock_mitigate",
                             "kernel.task_delayacct",
                             "kernel.watchdog_cpumask",
                             "net.core.bpf_jit_enable",
                             "net.core.dev_weight",
                             "net.core.netdev_budget",
                             "net.core.netdev_budget_usecs",
                             "net.core.optmem_max",
                             "net.core.rps_sock_flow_entries",
                             "net.ipv4.ip_forward",
                             "net.ipv4.tcp_autocorking",
                             "net.ipv4.tcp_limit_output_bytes",
                             "net.ipv4.tcp_mtu_probing",
                             "net.ipv4.tcp_no_metrics_save",
                             "net.ipv4.tcp_notsent_lowat",
                             "net.ipv4.tcp_sack",
                             "net.ipv4.tcp_slow_start_after_idle",
                             "net.ipv4.tcp_timestamps",
                             "net.ipv4.tcp_window_scaling",
                             "vm.compact_unevictable_allowed",
                             "vm.dirty_background_bytes",
                             "vm.dirty_bytes",
                             "vm.dirty_expire_centisecs",
                             "vm.dirty_writeback_centisecs",
                             "vm.hugetlb_optimize_vmemmap",
                             "vm.laptop_mode",
                             "vm.max_map_count",
                             "vm.overcommit_ratio",
                             "vm.page-cluster",
                             "vm.percpu_pagelist_high_fraction",
                             "vm.vfs_cache_pressure",
                             "vm.watermark_boost_factor",
                             "vm.watermark_scale_factor"};

}  // namespace

Values more_sysctls(const HostSource& source, const FactRow&) {
  Values found;
  for (const std::string name : sysctls) {
    std::string path = "/proc/sys/" + name;
    std::ranges::replace(path, '.', '/');
    if (const auto text = source.root.read(path)) found[name] = *text;
  }
  return found;
}

Values page_sizes(const HostSource& source, const FactRow& row) {
  Values found;
  for (const std::string& name : source.root.list(row.path))
    if (const auto text = source.root.read(fmt::format("{}/{}/enabled", row.path, name)); text && name != "khugepaged")
      found["transparent " + name] = topology::chosen_word(*text);
  return found;
}

Values uncore_limits(const HostSource& source, const FactRow& row) {
  Values found;
  for (const std::string& die : source.root.list(row.path))
    for (const char* limit : {"min_freq_khz", "max_freq_khz"})
      if (const auto text = source.root.read(fmt::format("{}/{}/{}", row.path, die, limit)))
        found[fmt::format("uncore {} {}", die, limit)] = *text;
  return found;
}

// Which are there, and on.
Values live_patches(const HostSource& source, const FactRow& row) {
  std::vector<std::string> on;
  for (const std::string& name : source.root.list(row.path))
    if (source.root.read(fmt::format("{}/{}/enabled", row.path, name)) == "1") on.push_back(name);
  return on.empty() ? Values{} : Values{{std::string(row.name), fmt::format("{}", fmt::join(on, " "))}};
}

}  // namespace launcher::record
