// KVM's own counters as QEMU hands them on (QMP query-stats, qapi/stats.json, QEMU 7.1 on; kernel: Documentation/virt/kvm/api.rst,
// "KVM_GET_STATS_FD"). The rule: names are the kernel's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "qmp/message.hpp"

namespace launcher::inline proof {

struct Subject;

struct StatKind {
  std::string type;               // "cumulative", "instant", "peak", "linear-histogram", "log2-histogram"
  std::string unit;               // "seconds", "bytes", "cycles", "boolean", ""
  int base = 0, exponent = 0;     // value * base ^ exponent is in that unit; base 0: as it is
  std::uint64_t bucket_size = 0;  // of a linear histogram
};

struct Stats {
  std::map<std::string, std::uint64_t> numbers;
  std::map<std::string, std::vector<std::uint64_t>> histograms;
};

std::map<std::string, unsigned> vcpu_paths(const Subject& subject);  // QEMU's object path -> cpu-index
// By cpu-index. why: "" or what QEMU said; nothing at all where there is no KVM below it.
std::map<unsigned, Stats> vcpu_stats(const Subject& subject, const std::map<std::string, unsigned>& paths,
                                     std::string& why);
::qmp::Command of_vm_stats();
Stats vm_stats(const Subject& subject, std::string& why);
std::map<std::string, StatKind> stat_kinds(const Subject& subject, const std::string& target);  // "vm", "vcpu"

}  // namespace launcher::proof
