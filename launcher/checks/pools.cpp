// Huge pages: the pools of each node, and whether they can still grow.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

using topology::Node;

std::string pool_path(unsigned node, topology::Bytes page, const char* file) {
  return fmt::format("/sys/devices/system/node/node{}/hugepages/hugepages-{}kB/{}", node, page.count >> 10, file);
}

// With a spec: has each node the pages that this VM takes? vmrun raises a pool by the deficit, if the node's memory allows.
void pools_of_vm(const Audit& audit, Findings& findings) {
  for (const topology::PageNeed& need : audit.vm->placement->pages) {
    if (need.page == audit.host().base_page) continue;
    const std::string subject = fmt::format("node {}", need.node),
                      path = pool_path(need.node, need.page, "free_hugepages");
    if (need.deficit == 0)
      findings
          .leave(fmt::format("{} pages of {} needed, and free", need.pages, to_string(need.page)), {path},
                 "the pool has to hold the guest's memory divided by the page size, on this node; more is not better")
          .subject = subject;
    else
      findings
          .want(Level::advice,
                fmt::format("{} pages of {} needed, {} to be added at start", need.pages, to_string(need.page),
                            need.deficit),
                {path}, "them reserved early, while memory is whole",
                "vmrun adds them at start and takes them away at the end; " +
                    write_now("N", pool_path(need.node, need.page, "nr_hugepages")),
                boot_lasting(need.page >= topology::gib(1) ? "hugepagesz=1G hugepages=NODE:N"
                                                           : "hugepagesz=2M hugepages=NODE:N"))
          .subject = subject;
  }
}

// Without one: is what the machine has set aside spread as its nodes are?
void pools_of_host(const Audit& audit, Findings& findings) {
  const auto& nodes = audit.host().nodes;
  bool any = false;
  for (const topology::Bytes page : {topology::mib(2), topology::gib(1)}) {
    std::uint64_t most = 0, least = ~std::uint64_t{0};
    std::string text;
    for (const Node& node : nodes) {
      if (audit.host().cpus_of_node(node.id).empty()) continue;
      const topology::HugePagePool* pool = audit.host().pool(node.id, page);
      const std::uint64_t total = pool == nullptr ? 0 : pool->total;
      most = std::max(most, total);
      least = std::min(least, total);
      text += fmt::format("{}{} on node {} ({} free)", text.empty() ? "" : ", ", total, node.id,
                          pool == nullptr ? 0 : pool->free);
    }
    if (most == 0) continue;
    any = true;
    const std::string path = pool_path(nodes.front().id, page, "nr_hugepages");
    if (least == 0 && nodes.size() > 1)
      findings
          .want(Level::advice, text, {path}, "pages on each node that is to have VMs",
                write_now("N", pool_path(nodes.front().id, page, "nr_hugepages")),
                boot_lasting(fmt::format("hugepagesz={} hugepages=0:N,1:N", to_string(page))))
          .subject = to_string(page) + " pages";
    else
      findings.ok(text, {path}).subject = to_string(page) + " pages";
  }
  if (!any)
    findings.leave("no pool holds a page", {pool_path(nodes.front().id, topology::mib(2), "nr_hugepages")},
                   "vmrun adds at start what a VM lacks and gives it back; reserve at boot only what must be certain "
                   "(1G pages, a full host)");
}

void huge_pages(const Audit& audit, Findings& findings) {
  if (audit.vm && audit.vm->placement)
    pools_of_vm(audit, findings);
  else if (!audit.vm)
    pools_of_host(audit, findings);
}

// vm.nr_hugepages counts over all nodes: it hides that one node has none.
void overcommitted_pages(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/vm/nr_overcommit_hugepages";
  const auto value = audit.number(path);
  if (!value) return;
  if (*value == 0)
    findings.ok("0: a pool never grows by itself", {path});
  else
    findings.want(Level::advice, fmt::format("{} surplus pages may be made at a page fault", *value), {path}, "0",
                  sysctl_now("vm.nr_overcommit_hugepages", "0"), sysctl_lasting("vm.nr_overcommit_hugepages", "0"));
}

void gigantic_pages(const Audit& audit, Findings& findings) {
  if (!audit.flag("pdpe1gb")) {
    findings.leave("the CPU has no 1G pages", {"/proc/cpuinfo"}, "2M pages are the largest here");
    return;
  }
  const bool first = audit.host().nodes.empty();
  if (first) return;
  const std::string path = pool_path(audit.host().nodes.front().id, topology::gib(1), "nr_hugepages");
  if (audit.host().pool(audit.host().nodes.front().id, topology::gib(1)) == nullptr && !audit.exists(path)) {
    findings.want(Level::advice, "the CPU has 1G pages, the kernel offers no pool of them", {"/proc/cpuinfo", path},
                  "a pool of 1G pages", "at the next boot", boot_lasting("hugepagesz=1G hugepages=N"));
    return;
  }
  findings.leave("1G pages can be had", {path},
                 "guide 003 has them at boot only; a write to the node's nr_hugepages works as long as its memory is "
                 "not fragmented");
}

struct Blocks {
  std::uint64_t free = 0, large = 0;  // KiB; large: in blocks of 2M and more
};

// "Node 0, zone   Normal   1  99 2075 ..." : free blocks of 4K, 8K, 16K ...
std::map<unsigned, Blocks> read_blocks(const std::string& buddyinfo) {
  std::map<unsigned, Blocks> nodes;
  std::istringstream in(buddyinfo);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word, zone;
    unsigned node = 0;
    char comma = 0;
    if (!(words >> word >> node >> comma >> word >> zone) || zone == "DMA") continue;
    std::uint64_t count = 0;
    for (unsigned order = 0; words >> count; ++order) {
      nodes[node].free += count << (order + 2);
      if (order >= 9) nodes[node].large += count << (order + 2);
    }
  }
  return nodes;
}

void fragmentation(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/buddyinfo";
  auto blocks = read_blocks(audit.text(path).value_or(""));
  for (const unsigned node : audit.nodes()) {
    const auto found = blocks.find(node);
    if (found == blocks.end()) continue;
    std::uint64_t missing = 0;  // KiB that vmrun has to find on this node
    if (audit.vm && audit.vm->placement)
      for (const topology::PageNeed& need : audit.vm->placement->pages)
        if (need.node == node && need.page > audit.host().base_page) missing += need.deficit * (need.page.count >> 10);
    const auto& [free, large] = found->second;
    const std::string text = fmt::format("{} MiB of {} MiB free are in blocks of 2M", large >> 10, free >> 10);
    const std::string subject = fmt::format("node {}", node);
    if (missing > large)
      findings
          .want(Level::warning, fmt::format("{}, {} MiB are needed", text, missing >> 10), {path},
                "enough whole blocks, or pages reserved at boot",
                "echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory",
                boot_lasting("hugepages=NODE:N"))
          .subject = subject;
    else if (missing == 0 && large < free / 2)
      findings
          .want(Level::advice, text, {path}, "most free memory whole, before a pool is to grow",
                "echo 1 > /proc/sys/vm/compact_memory", boot_lasting("hugepages=NODE:N"))
          .subject = subject;
    else
      findings.ok(text, {path}).subject = subject;
  }
}

}  // namespace

std::vector<Check> pool_checks() {
  return {
      {"huge-pages", "memory",
       "001 3.2.3, 002 \"NUMA-aware hugepage allocation\", 003 \"Huge Pages\", 004 \"3. Hugepages\"",
       "a pool is the node's: pages of another node are remote, or (strict) not to be had", "VMs in huge pages",
       "that memory is the pool's alone", huge_pages, concerns::huge},
      {"surplus-pages", "memory", "002 \"Hugepages for KVM\"",
       "a surplus page is found, or not found, while the guest runs: then it is killed by SIGBUS",
       "VMs in huge pages that are not preallocated", "programs that count on it fail earlier", overcommitted_pages,
       concerns::huge},
      {"gigantic-pages", "memory", "003 \"1GB huge pages\", 001 3.2.3", "an entry of the TLB reaches 512 times as far",
       "VMs of many GiB", "a reboot", gigantic_pages, concerns::huge},
      {"fragmentation", "memory", "001 3.2.3, 002 \"Configuring 2 MB hugepages\"",
       "a pool grows only by whole blocks; the kernel grants fewer without an error", "VMs in huge pages",
       "compaction takes CPU time", fragmentation, concerns::huge},
  };
}

}  // namespace launcher::checks
