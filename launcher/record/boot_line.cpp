// The kernel's command line: its words, and what the kernel made of each. The rule: a word is no proof that it was taken, so what is in
// effect stands beside it; and a value that may name this machine is told apart by a digest, not shown.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>

#include "launcher/record/fact.hpp"

namespace launcher::inline record {

namespace {

// Words whose values name no machine and no secret; as in scripts/capture-host. "mod.": every parameter of that module.
constexpr std::array<std::string_view, 70> harmless{"isolcpus",
                                                    "nohz_full",
                                                    "nohz",
                                                    "rcu_nocbs",
                                                    "rcu_nocb_poll",
                                                    "irqaffinity",
                                                    "iommu",
                                                    "iommu.",
                                                    "intel_iommu",
                                                    "amd_iommu",
                                                    "amd_iommu_intr",
                                                    "intremap",
                                                    "mitigations",
                                                    "nosmt",
                                                    "hugepages",
                                                    "hugepagesz",
                                                    "default_hugepagesz",
                                                    "hugetlb_cma",
                                                    "hugetlb_free_vmemmap",
                                                    "transparent_hugepage",
                                                    "idle",
                                                    "intel_pstate",
                                                    "amd_pstate",
                                                    "processor.",
                                                    "intel_idle.",
                                                    "cpuidle.",
                                                    "cpufreq.",
                                                    "tsc",
                                                    "notsc",
                                                    "clocksource",
                                                    "pcie_acs_override",
                                                    "pcie_aspm",
                                                    "numa",
                                                    "numa_balancing",
                                                    "kvm.",
                                                    "kvm_intel.",
                                                    "kvm_amd.",
                                                    "workqueue.",
                                                    "nvme.",
                                                    "nvme_core.",
                                                    "skew_tick",
                                                    "watchdog",
                                                    "nowatchdog",
                                                    "nmi_watchdog",
                                                    "nosoftlockup",
                                                    "spectre_v2",
                                                    "spectre_v1",
                                                    "retbleed",
                                                    "l1tf",
                                                    "mds",
                                                    "tsx",
                                                    "tsx_async_abort",
                                                    "spec_store_bypass_disable",
                                                    "spec_rstack_overflow",
                                                    "gather_data_sampling",
                                                    "pti",
                                                    "nopti",
                                                    "quiet",
                                                    "ro",
                                                    "rw",
                                                    "psi",
                                                    "maxcpus",
                                                    "nr_cpus",
                                                    "mem",
                                                    "preempt",
                                                    "threadirqs",
                                                    "swiotlb",
                                                    "nomodule",
                                                    "cgroup_disable",
                                                    "audit"};

std::string canonical(std::string key) {
  std::ranges::replace(key, '-', '_');
  return key;
}

bool is_harmless(const std::string& key) {
  return std::ranges::any_of(
      harmless, [&](std::string_view known) { return known.ends_with('.') ? key.starts_with(known) : key == known; });
}

// Each word's key and value, in order; a quoted value may hold blanks.
std::vector<std::pair<std::string, std::string>> words_of(const std::string& line) {
  std::vector<std::pair<std::string, std::string>> found;
  std::string word;
  bool quoted = false;
  const auto put = [&] {
    if (word.empty()) return;
    const std::size_t equals = word.find('=');
    found.emplace_back(canonical(word.substr(0, equals)), equals == word.npos ? "" : word.substr(equals + 1));
    word.clear();
  };
  // what follows a "--" is init's, not the kernel's
  const std::size_t end = std::min(line.find(" -- "), line.size());
  if (end < line.size()) found.emplace_back("(for init)", line.substr(end));
  for (const char c : line.substr(0, end)) {
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == ' ' || c == '\t' || c == '\n'))
      put();
    else
      word += c;
  }
  put();
  return found;
}

// Where the kernel says what became of a word.
struct Reading {
  std::string_view key, path;
};
constexpr std::array readings{
    Reading{"isolcpus", "/sys/devices/system/cpu/isolated"},
    Reading{"nohz_full", "/sys/devices/system/cpu/nohz_full"},
    Reading{"irqaffinity", "/proc/irq/default_smp_affinity"},
    Reading{"nosmt", "/sys/devices/system/cpu/smt/control"},
    Reading{"transparent_hugepage", "/sys/kernel/mm/transparent_hugepage/enabled"},
    Reading{"clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"},
    Reading{"tsc", "/sys/devices/system/clocksource/clocksource0/current_clocksource"},
    Reading{"notsc", "/sys/devices/system/clocksource/clocksource0/current_clocksource"},
    Reading{"intel_pstate", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"},
    Reading{"amd_pstate", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"},
    Reading{"idle", "/sys/devices/system/cpu/cpuidle/current_driver"},
    Reading{"numa_balancing", "/proc/sys/kernel/numa_balancing"},
    Reading{"watchdog", "/proc/sys/kernel/watchdog"},
    Reading{"nowatchdog", "/proc/sys/kernel/watchdog"},
    Reading{"nmi_watchdog", "/proc/sys/kernel/nmi_watchdog"},
    Reading{"maxcpus", "/sys/devices/system/cpu/online"},
    Reading{"nr_cpus", "/sys/devices/system/cpu/possible"},
    Reading{"mitigations", "/sys/devices/system/cpu/vulnerabilities/spectre_v2"},
    Reading{"spectre_v2", "/sys/devices/system/cpu/vulnerabilities/spectre_v2"},
    Reading{"spectre_v1", "/sys/devices/system/cpu/vulnerabilities/spectre_v1"},
    Reading{"retbleed", "/sys/devices/system/cpu/vulnerabilities/retbleed"},
    Reading{"l1tf", "/sys/devices/system/cpu/vulnerabilities/l1tf"},
    Reading{"mds", "/sys/devices/system/cpu/vulnerabilities/mds"},
    Reading{"tsx_async_abort", "/sys/devices/system/cpu/vulnerabilities/tsx_async_abort"},
    Reading{"spec_store_bypass_disable", "/sys/devices/system/cpu/vulnerabilities/spec_store_bypass"},
    Reading{"spec_rstack_overflow", "/sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow"},
    Reading{"gather_data_sampling", "/sys/devices/system/cpu/vulnerabilities/gather_data_sampling"},
    Reading{"pti", "/sys/devices/system/cpu/vulnerabilities/meltdown"},
    Reading{"nopti", "/sys/devices/system/cpu/vulnerabilities/meltdown"},
};

// "2M" of hugepagesz=: the directory of that pool; "" without one.
std::string pool_file(const std::string& size) {
  const auto page = topology::parse_bytes(size);
  return page ? fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", page->count >> 10) : "";
}

std::string where_it_shows(const std::string& key, const std::string& page) {
  if (key == "hugepages") return pool_file(page);
  for (const Reading& reading : readings)
    if (reading.key == key) return std::string(reading.path);
  const std::size_t dot = key.find('.');
  return dot == key.npos || !is_harmless(key)
             ? ""
             : fmt::format("/sys/module/{}/parameters/{}", key.substr(0, dot), key.substr(dot + 1));
}

}  // namespace

Values boot_words(const HostSource& source) {
  Values found;
  const auto line = source.root.read("/proc/cmdline");
  if (!line) return found;
  for (const auto& [key, value] : words_of(*line)) {
    const bool shown = source.naming == Naming::shown || value.empty() || is_harmless(key);
    // what the machine's owner calls things may stand in the key, too: "host_db7_token"
    std::string& text = found[key];
    text += (text.empty() ? "" : " ") + (value.empty() ? "given" : shown ? value : digest_of_text(value));
  }
  return found;
}

std::vector<Effective> effective_values(const HostSource& source) {
  std::vector<Effective> found;
  std::string page = "2M";
  for (const auto& [key, value] : words_of(source.root.read("/proc/cmdline").value_or(""))) {
    if (key == "hugepagesz") page = value;
    const std::string where = where_it_shows(key, page);
    if (where.empty()) continue;
    found.push_back({value.empty() ? key : key + "=" + value, source.root.read(where).value_or(""), where});
  }
  return found;
}

}  // namespace launcher::record
