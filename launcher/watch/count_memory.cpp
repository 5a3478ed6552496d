// Counters of memory: where the guest's lies, who had to wait for some, and what the kernel does with it behind everybody's back.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/proof/kvm_stats.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/sample.hpp"
#include "topology/page_location.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline watch {

namespace {

// Bytes of QEMU's mappings on nodes that its memory was not planned for; the libraries' pages are everybody's.
std::optional<std::uint64_t> remote_bytes(const Subject& subject) {
  const auto maps = topology::read_numa_maps(subject.qemu);
  if (!maps) return std::nullopt;
  std::set<unsigned> planned;
  for (const topology::MemoryCell& cell : subject.plan.placement.cells)
    planned.insert(cell.host_nodes.begin(), cell.host_nodes.end());
  std::uint64_t bytes = 0;
  for (const topology::MappedRange& range : *maps) {
    if (!range.huge && !range.policy.starts_with("bind")) continue;
    for (const auto& [node, pages] : range.pages_on_node)
      if (!planned.contains(node)) bytes += pages * range.page.count;
  }
  return bytes;
}

std::uint64_t pool_bytes(const topology::Sysfs& root, unsigned node) {
  const std::string dir = fmt::format("/sys/devices/system/node/node{}/hugepages", node);
  constexpr std::string_view start = "hugepages-";  // "hugepages-2048kB"
  std::uint64_t bytes = 0;
  for (const std::string& pool : root.list(dir)) {
    const std::vector<std::uint64_t> kib =
        numbers_in(std::string_view(pool).substr(std::min(start.size(), pool.size())));
    const auto pages = root.read_number(fmt::format("{}/{}/nr_hugepages", dir, pool));
    if (!kib.empty() && pages) bytes += *pages * kib[0] << 10;
  }
  return bytes;
}

}  // namespace

MemoryCounts count_memory(const Subject& subject, bool whole, Sample& sample) {
  MemoryCounts counts;
  if (whole) {
    counts.remote = remote_bytes(subject);
    if (!counts.remote) sample.not_checked.insert("remote memory: QEMU's numa_maps cannot be read");
  }
  const auto stat = topology::parse_stat(subject.root.read(fmt::format("/proc/{}/stat", subject.qemu)).value_or(""));
  counts.major_faults = stat ? stat->major_faults : 0;
  for (const topology::MemoryCell& cell : subject.plan.placement.cells)
    for (const unsigned node : cell.host_nodes) {
      const auto text = subject.root.read(fmt::format("/sys/devices/system/node/node{}/meminfo", node));
      if (!text) continue;
      const std::string start = fmt::format("Node {} ", node);
      counts.node_free[node] = number_after(*text, start + "MemFree:").value_or(0) << 10;
      counts.node_size[node] = number_after(*text, start + "MemTotal:").value_or(0) << 10;
      const std::uint64_t in_memory = number_after(*text, start + "Shmem:").value_or(0) << 10;
      const std::uint64_t files = number_after(*text, start + "FilePages:").value_or(0) << 10;
      counts.node_uses[node] = {{"files in memory (tmpfs, memfd)", in_memory},
                                {"the page cache", files - std::min(files, in_memory)},
                                {"huge pages of the node's pools", pool_bytes(subject.root, node)}};
    }
  for (const char* file : {"pages_scanned", "full_scans"})
    if (!counts.ksm_scanned) counts.ksm_scanned = subject.root.read_number(std::string("/sys/kernel/mm/ksm/") + file);
  if (const auto text = subject.root.read("/proc/vmstat")) counts.numa_hints = number_after(*text, "numa_hint_faults ");
  if (const auto text = subject.root.read("/proc/pressure/memory")) {
    const std::size_t at = text->find("total=");  // the line "some"
    if (at != std::string::npos) counts.stalled_us = number_after(text->substr(at), "total=");
  }
  return counts;
}

std::map<unsigned, std::map<std::string, std::uint64_t>> count_exits(const Subject& subject, const Scope& scope,
                                                                     Sample& sample) {
  std::map<unsigned, std::map<std::string, std::uint64_t>> exits;
  std::string why;
  for (auto& [vcpu, stats] : vcpu_stats(subject, scope.vcpu_of, why)) exits[vcpu] = std::move(stats.numbers);
  if (!why.empty()) sample.not_checked.insert("exits: " + why);
  return exits;
}

}  // namespace launcher::watch
