// Steps that keep CPUs for one VM. The rule: a partition is one only if the kernel says so when it is read back, and of what
// was taken from other groups only the VM's own CPUs are given back.
#pragma once

#include <boost/describe/class.hpp>
#include <string>

#include "topology/cpu_set.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

// The CPUs are everybody's again, whoever is still in the group
struct EndPartition {
  static constexpr const char* kind = "end_partition";
  std::string path;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const EndPartition&, const EndPartition&) = default;
};
BOOST_DESCRIBE_STRUCT(EndPartition, (), (path))

// A cpuset.cpus.partition of a group whose CPUs are set: its CPUs are taken from all other groups, without load balancing.
struct MakePartition {
  static constexpr const char* kind = "make_partition";
  static constexpr bool locked = true;
  std::string path;
  std::string describe() const;
  EndPartition undo() const { return {path}; }
  void perform(PerformContext& context) const;
  friend bool operator==(const MakePartition&, const MakePartition&) = default;
};
BOOST_DESCRIBE_STRUCT(MakePartition, (), (path))

struct ReturnCpus {
  static constexpr const char* kind = "return_cpus";
  std::string path;
  topology::CpuSet cpus;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const ReturnCpus&, const ReturnCpus&) = default;
};
BOOST_DESCRIBE_STRUCT(ReturnCpus, (), (path, cpus))

// The cpuset.cpus of somebody else's group, which loses these CPUs. An empty one stands for all that the group above has.
struct TakeCpus {
  static constexpr const char* kind = "take_cpus";
  static constexpr bool locked = true;
  std::string path;
  topology::CpuSet cpus;
  std::string describe() const;
  ReturnCpus undo() const { return {path, cpus}; }
  void perform(PerformContext& context) const;
  friend bool operator==(const TakeCpus&, const TakeCpus&) = default;
};
BOOST_DESCRIBE_STRUCT(TakeCpus, (), (path, cpus))

}  // namespace launcher::steps
