// Steps that keep CPUs for one VM. The rule: a partition is one only if the kernel says so when it is read back, and of what
// was taken from other groups only the VM's own CPUs are given back.
#pragma once

#include <boost/mp11/algorithm.hpp>
#include <string>

#include "topology/cpu_set.hpp"

namespace launcher::inline steps {

struct PerformContext;

// A cpuset.cpus.partition of a group whose CPUs are set: its CPUs are taken from all other groups, without load balancing.
struct MakePartition {
  std::string path;
  friend bool operator==(const MakePartition&, const MakePartition&) = default;
};
struct EndPartition {  // the CPUs are everybody's again, whoever is still in the group
  std::string path;
  friend bool operator==(const EndPartition&, const EndPartition&) = default;
};
// The cpuset.cpus of somebody else's group, which loses these CPUs. An empty one stands for all that the group above has.
struct TakeCpus {
  std::string path;
  topology::CpuSet cpus;
  friend bool operator==(const TakeCpus&, const TakeCpus&) = default;
};
struct ReturnCpus {
  std::string path;
  topology::CpuSet cpus;
  friend bool operator==(const ReturnCpus&, const ReturnCpus&) = default;
};

template <class T>
concept IsolationStep =
    boost::mp11::mp_contains<boost::mp11::mp_list<MakePartition, EndPartition, TakeCpus, ReturnCpus>, T>::value;

std::string describe(const MakePartition& step);
std::string describe(const EndPartition& step);
std::string describe(const TakeCpus& step);
std::string describe(const ReturnCpus& step);

void perform(const MakePartition& step, PerformContext& context);
void perform(const EndPartition& step, PerformContext& context);
void perform(const TakeCpus& step, PerformContext& context);
void perform(const ReturnCpus& step, PerformContext& context);

}  // namespace launcher::inline steps
