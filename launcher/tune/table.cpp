// The table of `vmrun host tune`: what a guide advises at run time and the host checks ask for, each with its profiles.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "launcher/tune/tuning.hpp"
#include "topology/words.hpp"

namespace launcher::inline tune {

namespace {

using namespace tuning;

constexpr unsigned own_cpus = latency | throughput | database | windows;  // profiles whose VMs have CPUs of their own
constexpr unsigned every = own_cpus | density | lab;

std::uint64_t number(std::string_view text) { return std::strtoull(std::string(text).c_str(), nullptr, 10); }

std::uint64_t last_number(std::string_view text) {
  const auto space = text.rfind(' ');
  return number(space == text.npos ? text : text.substr(space + 1));
}

// The file beside this one, in the same directory.
std::string beside(const std::string& path, std::string_view name) {
  return path.substr(0, path.rfind('/') + 1) + std::string(name);
}

Verdict at_least(const Audit&, const TunedFile& file) {
  if (last_number(file.now) >= last_number(file.value)) return {};
  return {.to = file.value};
}

// The value is "BAD GOOD": only this one setting is changed.
Verdict instead_of(const Audit&, const TunedFile& file) {
  const auto space = file.value.find(' ');
  if (file.now != file.value.substr(0, space)) return {};
  return {.to = file.value.substr(space + 1)};
}

Verdict deep_state(const Audit& audit, const TunedFile& file) {
  constexpr std::uint64_t noticeable = 2;  // us; C1 stays, or an idle sibling would spin
  if (audit.number(beside(file.path, "latency")).value_or(0) <= noticeable || file.now == file.value) return {};
  return {.to = file.value};
}

Verdict highest_frequency(const Audit& audit, const TunedFile& file) {
  const auto most = audit.number(beside(file.path, "cpuinfo_max_freq"));
  if (!most || number(file.now) >= *most) return {};
  return {.to = std::to_string(*most)};
}

Verdict halt_poll(const Audit&, const TunedFile& file) {
  const std::uint64_t now = number(file.now);
  if (now != 0 && now <= 1'000'000) return {};
  return {.to = file.value};
}

// Without APICv an injected timer still costs an exit.
Verdict inject_timer(const Audit& audit, const TunedFile& file) {
  const std::string module = audit.kvm_module();
  const bool apicv = audit.switch_of(module, module == "kvm_amd" ? "avic" : "enable_apicv").value_or(false);
  if (!apicv || file.now == "Y" || file.now == file.value) return {};
  return {.to = file.value};
}

Verdict nx_huge_pages(const Audit& audit, const TunedFile& file) {
  if (file.now != "Y") return {};
  if (audit.text("/sys/devices/system/cpu/vulnerabilities/itlb_multihit").value_or("").starts_with("Not affected"))
    return {.to = file.value};
  return {
      .leave =
          "this CPU has, or may have, the iTLB multihit erratum: whether its guests may be trusted is yours to say"};
}

Verdict on_several_nodes(const Audit& audit, const TunedFile& file) {
  if (audit.host().nodes.size() < 2 || file.now == file.value) return {};
  return {.to = file.value};
}

Verdict swappiness(const Audit& audit, const TunedFile& file) {
  const std::uint64_t swap = topology::meminfo_kib(audit.text("/proc/meminfo").value_or(""), "SwapTotal");
  return number(file.now) <= number(file.value) || swap == 0 ? Verdict{} : Verdict{.to = file.value};
}

// Guide 002: 1 to 2 % of the memory, and not more than some hundred MiB. A smaller reserve is the kernel's own choice.
Verdict min_free(const Audit& audit, const TunedFile& file) {
  std::uint64_t total = 0;
  for (const topology::Node& node : audit.host().nodes) total += node.memory_total.count >> 10;
  const std::uint64_t now = number(file.now);
  if (total == 0 || (now <= std::max<std::uint64_t>(total / 50, 256U << 10) && now <= (2U << 20))) return {};
  return {.to = std::to_string(std::min<std::uint64_t>({now, total / 100, 512U << 10}))};
}

Verdict clock_source(const Audit& audit, const TunedFile& file) {
  const std::string there = " " + audit.text(beside(file.path, "available_clocksource")).value_or("") + " ";
  if (file.now == file.value || there.find(" " + file.value + " ") == there.npos) return {};
  if (audit.is_vm())
    return {.leave = "in a virtual machine the hypervisor's clock is right unless its TSC is invariant"};
  return {.to = file.value};
}

Verdict scheduler(const Audit& audit, const TunedFile& file) {
  std::string disk = file.path.substr(std::string_view("/sys/block/").size());
  disk.resize(disk.find('/'));
  const auto starts = [&](const char* prefix) { return disk.starts_with(prefix); };
  if (!starts("nvme") && !starts("sd") && !starts("vd") && !starts("xvd")) return {};
  const std::string words = audit.text(file.path).value_or("");
  const bool spins = audit.spins(disk);
  const std::string wanted = spins ? "mq-deadline" : "none";
  if (file.now == wanted || (spins && file.now == "bfq") || words.find(wanted) == words.npos) return {};
  return {.to = wanted};
}

// /proc/net/softnet_stat: a line per CPU, hexadecimal; the second column counts what did not fit in the backlog.
Verdict backlog(const Audit& audit, const TunedFile& file) {
  if (number(file.now) >= number(file.value)) return {};
  std::istringstream in(audit.text("/proc/net/softnet_stat").value_or(""));
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string handled, dropped;
    if (words >> handled >> dropped && std::strtoull(dropped.c_str(), nullptr, 16) != 0) return {.to = file.value};
  }
  return {.leave = "not one packet was dropped for it since boot, so a longer queue changes nothing"};
}

Verdict aio_limit(const Audit& audit, const TunedFile& file) {
  if (audit.number("/proc/sys/fs/aio-nr").value_or(0) * 4 <= number(file.now) * 3) return {};
  return at_least(audit, file);
}

Verdict zero_copy(const Audit&, const TunedFile& file) {
  if (file.now == "1")
    return {.leave = "experimental_zcopytx = 1 is read when the module is loaded; see `vmrun host check`"};
  return {.leave = "off since 2019: a packet that its receiver keeps holds up all that follow (guide 001 turns it on)"};
}

constexpr std::string_view power = "tuned power-profiles-daemon tlp auto-cpufreq";
constexpr std::string_view limits = "tuned power-profiles-daemon tlp auto-cpufreq thermald";
constexpr std::string_view filters = "docker containerd crio kubelet k3s firewalld";

std::vector<Setting> power_settings() {
  return {
      // before the governor: under `performance` the drivers refuse another preference
      {"energy-preference", "/sys/devices/system/cpu/cpu#/cpufreq/energy_performance_preference", own_cpus,
       "performance", nullptr, power, "", "hardware P-states follow this hint, not the governor", "001 2.1",
       "power and heat"},
      {"governor", "/sys/devices/system/cpu/cpu#/cpufreq/scaling_governor", own_cpus, "performance", nullptr, power, "",
       "a governor that follows the load answers a vCPU's burst late", "000, 001 3.2.2, 003", "power and heat"},
      {"energy-perf-bias", "/sys/devices/system/cpu/cpu#/power/energy_perf_bias", latency | database, "0", nullptr,
       power, "", "the firmware's policy, as the kernel can see and set it", "001 2.1", "power and heat"},
      {"frequency-limit", "/sys/devices/system/cpu/cpu#/cpufreq/scaling_max_freq", own_cpus, "", highest_frequency,
       limits, "", "performance means the highest frequency within the limits", "001 3.2.2", "power and heat"},
      {"turbo", "/sys/devices/system/cpu/intel_pstate/no_turbo", own_cpus, "0", nullptr, limits, "",
       "without it the CPUs stay at their nominal frequency", "001 2.1, 000",
       "frequencies that depend on the neighbours' load"},
      {"turbo", "/sys/devices/system/cpu/cpufreq/boost", own_cpus, "1", nullptr, limits, "",
       "without it the CPUs stay at their nominal frequency", "001 2.1, 000",
       "frequencies that depend on the neighbours' load"},
      {"energy-efficient-turbo", "/sys/devices/system/cpu/intel_pstate/energy_efficiency", latency, "0", nullptr, power,
       "", "memory-bound phases lower the frequency of the next ones", "001 2.1", "power"},
      {"c-states", "/sys/devices/system/cpu/cpu#/cpuidle/state#/disable", latency, "1", deep_state, "tuned", "",
       "leaving a deep state takes longer than handling the interrupt", "001 3.2.4, 003",
       "power; fewer turbo bins for the other cores"},
      {"clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource", every, "tsc", clock_source,
       "", "", "guests' kvm-clock and TSC are scaled from it, and the others are slow to read", "003", "none"},
  };
}

std::vector<Setting> kvm_settings() {
  return {
      {"halt-poll", "/sys/module/kvm/parameters/halt_poll_ns", own_cpus, "200000", halt_poll, "", "",
       "polling for some microseconds saves the way through the scheduler when the wakeup comes soon", "001 3.2.6",
       "CPU time and power while polling"},
      {"halt-poll", "/sys/module/kvm/parameters/halt_poll_ns", density, "50000", halt_poll, "", "",
       "where CPUs are shared, long polling takes them from others, and without any each wakeup is late", "001 3.2.6",
       "CPU time while polling"},
      {"halt-poll", "/sys/module/kvm/parameters/halt_poll_ns_grow", own_cpus | density, "0 2", instead_of, "", "",
       "with a growth of 0 polling never starts", "001 3.2.6", "CPU time and power while polling"},
      {"exitless-timer", "/sys/module/kvm/parameters/pi_inject_timer", latency, "1", inject_timer, "", "",
       "with APICv, and cpu-pm=on in the VM, timers of a guest fire without an exit", "001 3.2.7",
       "housekeeping CPUs fire the timers"},
      {"nx-huge-pages", "/sys/module/kvm/parameters/nx_huge_pages", own_cpus, "N", nx_huge_pages, "", "",
       "huge pages that hold code are split, though this CPU has no iTLB multihit erratum", "003 \"Huge Pages\"",
       "none on this CPU"},
      {"zero-copy-transmit", "/sys/module/vhost_net/parameters/experimental_zcopytx", throughput, "0", zero_copy, "",
       "", "", "001 3.3.3", ""},
  };
}

std::vector<Setting> memory_settings() {
  return {
      {"transparent-huge-pages", "/sys/kernel/mm/transparent_hugepage/enabled", every, "never madvise", instead_of,
       "tuned", "/proc/sys/vm/min_free_kbytes", "2M pages reach further in the TLB, without a reserve", "001 3.2.3",
       "khugepaged's time"},
      {"transparent-huge-pages", "/sys/kernel/mm/transparent_hugepage/defrag", own_cpus | density,
       "always defer+madvise", instead_of, "tuned", "", "any page fault on the host may stop to compact memory",
       "001 3.2.3", "huge pages come a little later"},
      // not 2: unmerging can take long, and one that is killed in it leaves 0, which is neither ours nor what was there
      {"ksm", "/sys/kernel/mm/ksm/run", own_cpus, "1 0", instead_of, "ksmtuned", "",
       "ksmd reads all mergeable memory over and over; what it has merged stays so until it is written",
       "001 3.2.5, 003", "memory, where VMs are alike"},
      {"ksm", "/sys/kernel/mm/ksm/run", density, "1", nullptr, "ksmtuned", "",
       "many like VMs share what is equal in them (base pages only)", "001 3.2.5, 003 \"Case Study 3\"",
       "ksmd's time; a write to a merged page costs a copy"},
      {"numa-balancing", "/proc/sys/kernel/numa_balancing", own_cpus, "0", on_several_nodes, "tuned", "",
       "a VM that is pinned and bound has nothing left to balance, and its page faults are provoked all the same",
       "001 3.2.1", "unpinned processes of the host stay where they are"},
      {"numa-balancing", "/proc/sys/kernel/numa_balancing", density, "1", on_several_nodes, "tuned", "",
       "VMs that nobody has placed find the better node", "001 3.2.1", "page faults"},
      {"swappiness", "/proc/sys/vm/swappiness", own_cpus, "10", swappiness, "tuned", "",
       "guest memory in base pages is swapped out like any other", "003 \"Memory Pre-Allocation\"",
       "the host's file cache shrinks earlier"},
      {"zone-reclaim", "/proc/sys/vm/zone_reclaim_mode", every, "0", nullptr, "tuned", "",
       "it stalls allocations while other nodes have free memory; a VM's own memory is bound anyway", "002",
       "the host's own pages may be remote"},
      {"min-free", "/proc/sys/vm/min_free_kbytes", every, "", min_free, "tuned", "",
       "a node that cannot keep its part of the reserve reclaims without end", "002",
       "less room for bursts of atomic allocations"},
      {"overcommit", "/proc/sys/vm/overcommit_memory", every, "2 0", instead_of, "tuned", "",
       "QEMU maps all of a guest's memory at once, touched or not", "003",
       "the OOM killer instead of a refused allocation"},
      {"compaction", "/proc/sys/vm/compaction_proactiveness", latency, "0", nullptr, "tuned", "",
       "kcompactd moves pages in the background, and whoever uses one waits", "the kernel's admin-guide/sysctl/vm",
       "new huge pages of the host get rarer"},
  };
}

std::vector<Setting> io_settings() {
  return {
      {"bridge-netfilter", "/proc/sys/net/bridge/bridge-nf-call-*", own_cpus | density, "0", nullptr, filters, "",
       "a bridge forwards by address; a walk through iptables for each packet is extra", "004 \"2.\"",
       "rules that filter bridged traffic no longer do"},
      {"socket-buffers", "/proc/sys/net/core/?mem_max", throughput, "16777216", at_least, "tuned", "",
       "a TCP connection that ends on this host (user mode, passt, servers) grows no further; taps never enter a "
       "socket",
       "004 \"9.\"", "memory per connection"},
      {"socket-buffers", "/proc/sys/net/core/?mem_default", throughput, "1048576", at_least, "tuned", "",
       "the same, for sockets that ask for nothing", "004 \"9.\"", "memory per connection"},
      {"socket-buffers", "/proc/sys/net/ipv4/tcp_?mem", throughput, "4096 1048576 16777216", at_least, "tuned", "",
       "the same, for TCP's own choice", "004 \"9.\"", "memory per connection"},
      {"backlog", "/proc/sys/net/core/netdev_max_backlog", throughput, "5000", backlog, "tuned", "",
       "packets that arrive faster than a CPU handles them are dropped", "004 \"9.\"", "latency of a longer queue"},
      {"listen-queue", "/proc/sys/net/core/somaxconn", throughput, "4096", at_least, "tuned", "",
       "a server on the host refuses bursts of connections", "004 \"9.\"", "none"},
      {"io-scheduler", "/sys/block/*/queue/scheduler", own_cpus | density, "", scheduler, "tuned",
       "nr_requests wbt_lat_usec iosched/*",
       "the guest has sorted its requests already; an SSD gains nothing from a second time, a disk that spins does",
       "003 \"I/O Scheduling for KVM\"", "fairness between processes of the host"},
      {"aio-limit", "/proc/sys/fs/aio-max-nr", throughput | database | density, "1048576", aio_limit, "", "",
       "aio = \"native\" takes its requests from this sum over all processes", "001 3.3.4, 003, 004 \"8.\"",
       "kernel memory"},
  };
}

}  // namespace

std::optional<unsigned> tuning_profile(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 6> all = {{{"latency", latency},
                                                                         {"throughput", throughput},
                                                                         {"database", database},
                                                                         {"density", density},
                                                                         {"windows", windows},
                                                                         {"lab", lab}}};
  for (const auto& [known, bit] : all)
    if (known == name) return bit;
  return std::nullopt;
}

std::vector<Setting> tuning_table() {
  std::vector<Setting> all;
  for (const auto& topic : {power_settings, kvm_settings, memory_settings, io_settings}) {
    const std::vector<Setting> rows = topic();
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

}  // namespace launcher::tune
