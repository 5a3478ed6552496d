// What this machine's CPUs and its KVM can give to a guest, as far as a plan has to know. The rule: as in facts.hpp,
// looked at and never changed.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/facts/host_config.hpp"
#include "launcher/facts/qemu_features.hpp"

namespace launcher::inline spec {
struct Spec;
}  // namespace launcher::spec

namespace launcher::inline plan {

// Where the VM's cgroup would be, and what it would need first.
struct CgroupFacts {
  std::string parent;               // "/sys/fs/cgroup/vmrun"; "": none can be made
  std::string why;                  // when none can
  bool make_parent = false;         // it is vmrun's own, and may have to be made
  std::vector<std::string> enable;  // cgroup.subtree_control files that lack cpu, outermost first
};

struct CacheFacts {
  bool known = false;     // this machine was looked at
  bool there = false;     // resctrl is mounted and can divide the L3s
  std::uint32_t all = 0;  // the mask of all ways
  unsigned least = 1;     // as few bits as that a mask may have
  bool gaps = false;      // a mask may have gaps
  std::vector<unsigned> caches;
};

struct ScheduleFacts {
  unsigned fifo_limit = 0;            // the highest SCHED_FIFO priority we may give; 99 for root
  std::optional<long> rt_runtime_us;  // kernel.sched_rt_runtime_us; -1: no limit
  std::string core_why;               // why core scheduling cannot be had; "" if it can
  CgroupFacts cgroup;
  CacheFacts l3;
};

struct CpuFacts {
  std::optional<std::set<std::string>> features;  // of model "host" under this KVM; nullopt: not needed, or not known
  std::string features_why;                       // when it is not known
  bool stable_tsc = false;                        // constant_tsc and nonstop_tsc
  bool tsc_scaling = false;                       // KVM_CAP_TSC_CONTROL
  bool nested = false;                            // KVM's module gives its guests vmx or svm
  std::optional<unsigned> phys_bits;              // of this CPU's physical addresses; nullopt: not known
  unsigned kvm_max_vcpus = 0;                     // KVM_CAP_MAX_VCPUS; 0: not known
  std::optional<unsigned> disable_exits;          // KVM_CAP_X86_DISABLE_EXITS: 1 MWAIT, 2 HLT, 4 PAUSE, 8 C-states
  ScheduleFacts schedule;
};

CpuFacts look_at_cpu(const Spec& spec, const HostConfig& config, bool kvm, Cache cache);
ScheduleFacts look_at_schedule(const Spec& spec);  // schedule_facts.cpp
CpuFacts assumed_cpu_facts();                      // another machine: a server of these years

}  // namespace launcher::plan
