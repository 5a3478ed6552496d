// The host's memory management: what the kernel does to pages on its own.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "launcher/checks/concerns.hpp"
#include "topology/words.hpp"

namespace launcher::inline checks {

using topology::meminfo_kib;

namespace {

std::string mib(std::uint64_t kib) { return fmt::format("{} MiB", kib >> 10); }

void thp(const Audit& audit, Findings& findings) {
  const std::string dir = "/sys/kernel/mm/transparent_hugepage/", path = dir + "enabled";
  const auto text = audit.text(path);
  if (!text) return;
  const std::string enabled = topology::chosen_word(*text),
                    defrag = topology::chosen_word(audit.text(dir + "defrag").value_or(""));
  if (enabled == "never")
    findings.want(Level::advice, "never: guest memory in base pages stays in base pages", {path},
                  "madvise (QEMU asks for it) or always", write_now("madvise", path),
                  boot_lasting("transparent_hugepage=madvise"));
  else if (enabled == "always" && defrag == "always")
    findings.want(Level::advice, "always, and defrag = always: any page fault on the host may stop to compact memory",
                  {path, dir + "defrag"}, "defrag = madvise or defer+madvise",
                  write_now("defer+madvise", dir + "defrag"), write_lasting("defer+madvise", dir + "defrag"));
  else
    findings.ok(fmt::format("{}, defrag = {}", enabled, defrag), {path, dir + "defrag"});
}

void ksm(const Audit& audit, Findings& findings) {
  const std::string dir = "/sys/kernel/mm/ksm/", path = dir + "run";
  const auto run = audit.number(path);
  if (!run) return;
  const bool tuner = audit.service_runs("ksmtuned");
  if (*run != 1) {
    findings.leave(fmt::format("run = {}{}", *run, tuner ? ", ksmtuned runs and may start it" : ""), {path},
                   "merging pays where many like VMs are packed; it never touches huge pages, and a write to a merged "
                   "page costs a copy");
    return;
  }
  const bool across = audit.number(dir + "merge_across_nodes").value_or(0) == 1 && audit.host().nodes.size() > 1;
  findings
      .want(
          across ? Level::warning : Level::advice,
          fmt::format("ksmd runs{}{}", across ? " and merges across nodes" : "", tuner ? " (ksmtuned steers it)" : ""),
          {path, dir + "merge_across_nodes"},
          across ? "off, or merge_across_nodes = 0" : "off, except to pack many like VMs", write_now("2", path),
          tuner ? "systemctl disable --now ksmtuned ksm" : write_lasting("2", path))
      .why = across ? "a merged page lies on one node: the other node's VMs read it from afar" : "";
}

void numa_balancing(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/kernel/numa_balancing";
  const auto on = audit.number(path);
  if (!on) return;
  if (audit.host().nodes.size() < 2) {
    findings.leave(fmt::format("{} on one node", *on), {path}, "there is nowhere to move a page to");
  } else if (*on == 0) {
    findings.ok("off", {path});
  } else if (audit.vm && !audit.vm->pinned && audit.vm->passed_through.empty()) {
    findings.leave("on", {path},
                   "this VM is neither pinned nor are its pages held by VFIO: balancing finds it the better node");
  } else {
    findings
        .want(Level::advice, "on: page faults are provoked to see who uses what", {path},
              "0 where VMs are pinned and bound", sysctl_now("kernel.numa_balancing", "0"),
              sysctl_lasting("kernel.numa_balancing", "0"))
        .why =
        "guide 001 prefers it for VMs without passed-through devices; a VM that vmrun has pinned and bound has nothing "
        "left to balance";
  }
}

struct Watermarks {
  std::uint64_t high = 0, free = 0, managed = 0;  // KiB
};

// Per node, the sums over its zones: "Node 0, zone Normal", then "pages free N", "high N", "managed N".
std::map<unsigned, Watermarks> read_zones(const std::string& zoneinfo) {
  std::map<unsigned, Watermarks> nodes;
  unsigned node = 0;
  std::istringstream in(zoneinfo);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first, second;
    words >> first >> second;
    const auto value = [&](const std::string& number) { return std::strtoull(number.c_str(), nullptr, 10) * 4; };
    if (first == "Node") node = static_cast<unsigned>(std::strtoul(second.c_str(), nullptr, 10));
    if (first == "pages" && second == "free") {
      std::string third;
      words >> third;
      nodes[node].free += value(third);
    }
    if (first == "high") nodes[node].high += value(second);
    if (first == "managed") nodes[node].managed += value(second);
  }
  std::erase_if(nodes, [](const auto& entry) { return entry.second.managed == 0; });
  return nodes;
}

// Guide 002: the reserve is shared out to every node's zones, and each zone has to keep its part.
void min_free(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/vm/min_free_kbytes", zones = "/proc/zoneinfo";
  const auto value = audit.number(path);
  const auto nodes = read_zones(audit.text(zones).value_or(""));
  if (!value || nodes.empty()) return;
  std::uint64_t total = 0;
  for (const auto& [node, marks] : nodes) total += marks.managed;
  const std::string sane = std::to_string(std::min<std::uint64_t>({*value, total / 100, 512U << 10}));
  bool short_of = false;
  for (const auto& [node, marks] : nodes) {
    // free pages alone fall to the mark on every busy machine; what can be reclaimed at once counts as well
    const std::string meminfo = audit.text(fmt::format("/sys/devices/system/node/node{}/meminfo", node)).value_or("");
    const std::uint64_t usable =
        marks.free + meminfo_kib(meminfo, "Inactive(file)") + meminfo_kib(meminfo, "Active(file)");
    if (usable >= marks.high * 2) continue;
    short_of = true;
    const bool now = usable < marks.high;
    findings
        .want(now ? Level::problem : Level::warning,
              fmt::format("{} free or reclaimable, and the kernel reclaims below {}", mib(usable), mib(marks.high)),
              {path, zones}, "at least twice the high watermark free",
              "give huge pages of this node back, or end a VM" +
                  (std::to_string(*value) == sane ? "" : "; or " + sysctl_now("vm.min_free_kbytes", sane)),
              std::to_string(*value) == sane ? "" : sysctl_lasting("vm.min_free_kbytes", sane))
        .subject = fmt::format("node {}", node);
  }
  // the kernel chooses less by itself
  const std::uint64_t most = std::max<std::uint64_t>(total / 50, 256U << 10);
  if (*value > most || (*value > (2U << 20)))
    findings.want(Level::warning, fmt::format("{} of {} are kept back, by node", mib(*value), mib(total)),
                  {path, zones}, "1 to 2 % of the memory, and not more than some hundred MiB",
                  sysctl_now("vm.min_free_kbytes", sane), sysctl_lasting("vm.min_free_kbytes", sane));
  else if (!short_of)
    findings.ok(fmt::format("{} are kept back; every node has enough above its marks", mib(*value)), {path, zones});
}

void overcommit(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/vm/overcommit_memory";
  const auto mode = audit.number(path);
  if (!mode) return;
  const std::string meminfo = audit.text("/proc/meminfo").value_or("");
  const std::uint64_t limit = meminfo_kib(meminfo, "CommitLimit"), committed = meminfo_kib(meminfo, "Committed_AS");
  if (*mode == 2)
    findings.want(Level::warning,
                  fmt::format("2: {} of {} promised; a VM with more memory than the rest does not start",
                              mib(committed), mib(limit)),
                  {path, "/proc/meminfo"}, "0", sysctl_now("vm.overcommit_memory", "0"),
                  sysctl_lasting("vm.overcommit_memory", "0"));
  else
    findings.ok(fmt::format("{}", *mode), {path});
}

void swappiness(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/vm/swappiness";
  const auto value = audit.number(path);
  if (!value) return;
  const std::uint64_t swap = meminfo_kib(audit.text("/proc/meminfo").value_or(""), "SwapTotal");
  if (swap == 0)
    findings.leave(fmt::format("{}", *value), {path, "/proc/meminfo"}, "there is no swap");
  else if (audit.vm && (audit.vm->huge() || audit.vm->lock))
    findings.leave(fmt::format("{}", *value), {path}, "this VM's memory cannot be swapped out");
  else if (*value > 10)
    findings.want(Level::advice, fmt::format("{}, with {} of swap", *value, mib(swap)), {path, "/proc/meminfo"},
                  "10 or less", sysctl_now("vm.swappiness", "10"), sysctl_lasting("vm.swappiness", "10"));
  else
    findings.ok(fmt::format("{}", *value), {path});
}

void zone_reclaim(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/vm/zone_reclaim_mode";
  const auto mode = audit.number(path);
  if (!mode) return;
  if (*mode == 0)
    findings.ok("0", {path});
  else
    findings.want(Level::advice, fmt::format("{}: a full node reclaims its own pages before it takes another's", *mode),
                  {path}, "0", sysctl_now("vm.zone_reclaim_mode", "0"), sysctl_lasting("vm.zone_reclaim_mode", "0"));
}

// "Max locked memory         8388608              8388608              bytes"
void memlock(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/self/limits";
  const std::string limits = audit.text(path).value_or("");
  const auto at = limits.find("Max locked memory");
  if (at == limits.npos) return;
  std::istringstream in(limits.substr(at + 17));
  std::string soft;
  in >> soft;
  const std::string status = audit.text("/proc/self/status").value_or("");
  const auto caps = status.find("CapEff:");
  constexpr unsigned ipc_lock = 14;
  const bool free_of_limits =
      caps != status.npos && (std::strtoull(status.c_str() + caps + 7, nullptr, 16) >> ipc_lock & 1U) != 0;
  if (soft == "unlimited" || free_of_limits) {
    findings.ok(soft == "unlimited" ? "unlimited" : fmt::format("{} bytes, which do not hold for this user", soft),
                {path});
    return;
  }
  const bool needed = audit.vm && (audit.vm->lock || !audit.vm->passed_through.empty());
  findings.want(needed ? Level::problem : Level::advice, fmt::format("this user may lock {} bytes", soft),
                {path, "/proc/self/status"}, "unlimited, for a VM with memory.lock or passed-through devices",
                "start vmrun as root",
                "`USER - memlock unlimited` in /etc/security/limits.d/vmrun.conf, LimitMEMLOCK=infinity in a unit");
}

// Namespaces of persistent memory: only devdax can be given to a guest without a file system in between.
void pmem(const Audit& audit, Findings& findings) {
  for (const std::string& name : audit.sysfs().list("/sys/bus/nd/devices")) {
    if (!name.starts_with("namespace")) continue;
    const std::string dir = "/sys/bus/nd/devices/" + name;
    const auto size = audit.number(dir + "/size");
    if (!size || *size == 0) continue;
    const std::string holder = audit.text(dir + "/holder_class").value_or(""), path = dir + "/holder_class";
    if (holder == "dax")
      findings.ok("devdax", {path}).subject = name;
    else
      findings
          .want(Level::advice,
                fmt::format("{}, not devdax", holder.empty()    ? "raw"
                                              : holder == "pfn" ? "fsdax"
                                                                : holder),
                {path}, "devdax, to give it to a VM as an NVDIMM",
                fmt::format("ndctl create-namespace -f -m devdax -e {} (destroys what is in it)", name), "it lasts")
          .subject = name;
  }
}

}  // namespace

std::vector<Check> memory_checks() {
  return {
      {"transparent-huge-pages", "memory", "001 3.2.3, 002 \"Available profiles\"",
       "2M pages reach further in the TLB, without a reserve", "VMs whose memory is not in huge pages",
       "khugepaged's time", thp, concerns::base_pages},
      {"ksm", "memory", "001 3.2.5, 003 \"Case Study 3\"",
       "ksmd reads all mergeable memory over and over, and a merged page is slow to write",
       "VMs where latency counts; hosts that pack many like VMs keep it", "memory, where VMs are alike", ksm,
       concerns::base_pages},
      {"numa-balancing", "memory", "001 3.2.1 \"Automatic NUMA Balancing\"",
       "it moves pages of processes that nobody has placed", "pinned VMs, VMs with passed-through devices",
       "unpinned processes of the host stay where they are", numa_balancing, concerns::every},
      {"min-free", "memory", "002 \"The dangers of vm.min_free_kbytes\"",
       "a node that cannot keep its part of the reserve reclaims without end, then kills, though other nodes have "
       "memory",
       "every VM on a machine whose memory is given away", "less room for bursts of atomic allocations", min_free,
       concerns::every},
      {"overcommit", "memory", "003 \"Memory Overcommit Considerations\"",
       "QEMU maps all of a guest's memory at once, touched or not", "every VM",
       "the OOM killer instead of a refused allocation", overcommit, concerns::every},
      {"swappiness", "memory", "003 \"Memory Pre-Allocation\", 001 3.3.1",
       "guest memory in base pages is swapped out like any other", "VMs in base pages, not locked",
       "the host's file cache shrinks earlier", swappiness, concerns::every},
      {"zone-reclaim", "memory", "002 \"NUMA memory binding\"",
       "it stalls allocations while other nodes have free memory; a VM's own memory is bound anyway",
       "hosts with several nodes", "the host's own pages may be remote", zone_reclaim, concerns::every},
      {"memlock", "memory", "001 3.3.1 \"Locking Qemu and Guest Memory\", 003",
       "locked memory, and memory that a device reaches by DMA, counts against this limit",
       "VMs with memory.lock or passed-through devices, started without root", "that user can take all memory", memlock,
       concerns::every},
      {"pmem", "memory", "001 4",
       "a file system or block layer in between loses MAP_SYNC and the mapping in large pages", "VMs with an NVDIMM",
       "the namespace's content", pmem, concerns::every},
  };
}

}  // namespace launcher::checks
