// What this process was allowed of the machine. The rule: what the kernel merged is believed (/proc/self/status); cgroups
// only say by whom, and how much memory.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "topology/control_groups.hpp"
#include "topology/read_host_now.hpp"

namespace topology {

namespace {

// The rest of the line that begins with key: "Cpus_allowed_list:\t0-3" -> "0-3".
std::optional<std::string> line_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key)) {
      const auto from = line.find_first_not_of(" \t", key.size());
      return std::string(from == line.npos ? "" : line.substr(from));
    }
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return std::nullopt;
}

std::optional<CpuSet> list_in(const std::optional<std::string>& text) {
  auto set = text ? CpuSet::parse(*text) : std::unexpected("");
  return set && !set->empty() ? std::optional(*std::move(set)) : std::nullopt;
}

std::string words_of(const ControlGroup& group) { return group.path.empty() ? "/" : group.path; }

// The nearest group upwards that has the file, since a controller need not be on in each.
std::optional<CpuSet> set_of(const Sysfs& sysfs, ControlGroup& group, std::string_view v2_file,
                             std::string_view v1_file) {
  for (;;) {
    const auto file = group.v2 ? v2_file : v1_file;
    if (auto set = list_in(sysfs.read(fmt::format("{}{}/{}", group.mount, group.path, file)))) return set;
    if (group.path.empty()) return std::nullopt;
    group.path.erase(group.path.rfind('/'));
  }
}

// The affinity mask bounds what is asked for only where somebody set it: with isolcpus the kernel itself starts every
// process on the other CPUs, and that is nobody's will about this one.
void allow_cpus(const Sysfs& sysfs, std::string_view status, const HostTopology& host, Allowed& allowed) {
  const CpuSet all = host.all_cpus();
  auto group = group_of(sysfs, "self", "cpuset");
  const auto found = group ? set_of(sysfs, *group, "cpuset.cpus.effective", "cpuset.effective_cpus") : std::nullopt;
  const CpuSet cpuset = found && found->intersects(all) ? *found & all : all;
  if (cpuset != all)
    allowed.by.push_back(fmt::format("CPUs {}: the cpuset of cgroup {}", cpuset.to_string(), words_of(*group)));
  CpuSet may = cpuset;
  if (const auto mask = list_in(line_of(status, "Cpus_allowed_list:")); mask && mask->intersects(cpuset))
    if (const CpuSet here = *mask & cpuset; !here.contains(cpuset - host.isolated)) {
      may = here;
      allowed.by.push_back(
          fmt::format("CPUs {}: the affinity mask (taskset, numactl -N, CPUAffinity=, a cpuset)", may.to_string()));
    }
  if (may != all) allowed.cpus = may;
}

// "7f.. bind:1 file=..." of the first mapping: a task's own policy is that of all mappings that have none. Only bind bounds.
std::optional<CpuSet> bound_nodes(const Sysfs& sysfs) {
  const std::string text = sysfs.read_start("/proc/self/numa_maps", 512).value_or("");
  const auto space = text.find(' ');
  if (space == text.npos) return std::nullopt;
  const std::string policy = text.substr(space + 1, text.find_first_of(" \n", space + 1) - space - 1);
  const auto colon = policy.rfind(':');
  if (!policy.starts_with("bind") || colon == policy.npos) return std::nullopt;
  return list_in(policy.substr(colon + 1));
}

void allow_nodes(const Sysfs& sysfs, std::string_view status, const HostTopology& host, Allowed& allowed) {
  CpuSet all;
  for (const Node& node : host.nodes) all.add(node.id);
  CpuSet may = all;
  const auto narrow = [&](const std::optional<CpuSet>& to, std::string_view by) {
    if (!to || to->contains(may) || !to->intersects(may)) return;
    may &= *to;
    allowed.by.push_back(fmt::format("memory of nodes {}: {}", may.to_string(), by));
  };
  narrow(list_in(line_of(status, "Mems_allowed_list:")), "a cpuset's mems (AllowedMemoryNodes=)");
  narrow(bound_nodes(sysfs), "the memory policy (numactl -m)");
  if (may != all) allowed.nodes = may;
}

// Are huge pages charged as well? Of /proc/self/mountinfo: "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,memory_hugetlb_accounting"
bool counts_huge_pages(const Sysfs& sysfs) {
  return sysfs.read("/proc/self/mountinfo").value_or("").find("memory_hugetlb_accounting") != std::string::npos;
}

// What may still be charged: of each group from ours to the root its limit less what it has in use and cannot drop.
void allow_memory(const Sysfs& sysfs, Allowed& allowed) {
  auto group = group_of(sysfs, "self", "memory");
  if (!group) return;
  std::string by;
  allowed.huge_pages_count = group->v2 && counts_huge_pages(sysfs);
  for (;;) {
    const std::string at = group->mount + group->path + "/";
    const std::string file = group->v2 ? "memory.max" : "memory.limit_in_bytes";
    const auto limit = sysfs.read_number(at + file);
    if (limit && *limit < unlimited_memory) {
      const auto used = sysfs.read_number(at + (group->v2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
      const auto stat = sysfs.read(at + "memory.stat").value_or("");
      const auto cache = line_of(stat, group->v2 ? "inactive_file " : "total_inactive_file ");
      const std::uint64_t clean = cache ? std::strtoull(cache->c_str(), nullptr, 10) : 0;
      const std::uint64_t held = used - std::min(used, clean);
      const Bytes left = mib((*limit - std::min(*limit, held)) >> 20);
      if (!allowed.memory || left < *allowed.memory) {
        allowed.memory = left;
        by = fmt::format("{} of memory in {} pages: {} of cgroup {}, less what it uses", to_string(left),
                         allowed.huge_pages_count ? "base and huge" : "base", file, words_of(*group));
      }
    }
    if (group->path.empty()) break;
    group->path.erase(group->path.rfind('/'));
  }
  allowed.huge_pages_count = allowed.huge_pages_count && allowed.memory;
  if (!by.empty()) allowed.by.push_back(std::move(by));
}

// What the controller hugetlb leaves of each size of pages ("2MB", "1GB" in its files' names); a file without an end is no limit.
void allow_huge_pages(const Sysfs& sysfs, const HostTopology& host, Allowed& allowed) {
  const auto ours = group_of(sysfs, "self", "hugetlb");
  if (!ours) return;
  std::set<Bytes> sizes;
  for (const Node& node : host.nodes)
    for (const HugePagePool& pool : node.pools) sizes.insert(pool.page);
  for (const Bytes page : sizes) {
    const std::string name = "hugetlb." + to_string(page) + "B";
    std::optional<Bytes> least;
    std::string by;
    for (ControlGroup group = *ours;; group.path.erase(group.path.rfind('/'))) {
      // faults are charged to the one, what is reserved at mmap() to the other: each is a bound
      for (const char* kind : {"", ".rsvd"}) {
        const std::string file = fmt::format("{}{}.{}", name, kind, group.v2 ? "max" : "limit_in_bytes");
        const std::string at = group.mount + group.path + "/";
        const auto limit = sysfs.read_number(at + file);
        if (!limit || *limit >= unlimited_memory) continue;
        const auto used =
            sysfs.read_number(fmt::format("{}{}{}.{}", at, name, kind, group.v2 ? "current" : "usage_in_bytes"))
                .value_or(0);
        const Bytes left = page * ((*limit - std::min(*limit, used)) / page.count);
        if (least && left >= *least) continue;
        least = left;
        by = fmt::format("{} of pages of {}: {} of cgroup {}, less what it uses", to_string(left), to_string(page),
                         file, words_of(group));
      }
      if (group.path.empty()) break;
    }
    if (!least) continue;
    allowed.pages.push_back({page, *least});
    allowed.by.push_back(std::move(by));
  }
}

}  // namespace

Allowed read_allowed(const Sysfs& sysfs, const HostTopology& host) {
  Allowed allowed;
  const std::string status = sysfs.read("/proc/self/status").value_or("");
  allow_cpus(sysfs, status, host, allowed);
  allow_nodes(sysfs, status, host, allowed);
  allow_memory(sysfs, allowed);
  allow_huge_pages(sysfs, host, allowed);
  return allowed;
}

}  // namespace topology
