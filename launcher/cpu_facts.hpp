// What this machine's CPUs and its KVM can give to a guest, as far as a plan has to know. The rule: as in facts.hpp,
// looked at and never changed.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "launcher/host_config.hpp"
#include "launcher/qemu_features.hpp"

namespace launcher {

struct Spec;

struct CpuFacts {
  std::optional<std::set<std::string>> features;  // of model "host" under this KVM; nullopt: not needed, or not known
  std::string features_why;                       // when it is not known
  bool stable_tsc = false;                        // constant_tsc and nonstop_tsc
  bool tsc_scaling = false;                       // KVM_CAP_TSC_CONTROL
  bool nested = false;                            // KVM's module gives its guests vmx or svm
  unsigned kvm_max_vcpus = 0;                     // KVM_CAP_MAX_VCPUS; 0: not known
  std::optional<unsigned> disable_exits;          // KVM_CAP_X86_DISABLE_EXITS: 1 MWAIT, 2 HLT, 4 PAUSE, 8 C-states
};

CpuFacts look_at_cpu(const Spec& spec, const HostConfig& config, bool kvm, Cache cache);
CpuFacts assumed_cpu_facts();  // another machine: a server of these years

}  // namespace launcher
