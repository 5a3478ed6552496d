// What this host has of the settings that a VM may want changed while it runs ([host]). The rule: looked at only as far as the spec
// asks, and never changed here.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/spec/host_spec.hpp"
#include "topology/cpu_set.hpp"
#include "topology/host_topology.hpp"

namespace launcher::inline plan {

// A group right below the root of cgroup version 2, not vmrun's; cpus: its cpuset.cpus, "" for all.
struct TopGroup {
  std::string path;
  std::string cpus;
};

// How CPUs can be taken from all other tasks.
struct IsolationFacts {
  std::string root;                                 // where cgroup version 2 is mounted
  std::string why = "this host was not looked at";  // nothing of it can be done; "" if it can
  std::string no_partition;                         // why there are no isolated partitions; "" if there are
  bool nested = false;  // a partition's group need not be right below the root (cpuset.cpus.exclusive, Linux 6.8)
  bool has_cpuset = false, has_cpu = false;  // for the groups below the root; else they are to be turned on
  std::string no_cpu;                        // why the cpu controller cannot be had
  std::vector<TopGroup> groups;
  topology::CpuSet partitioned;  // CPUs that a partition has already, and so no other group
};

struct IdleState {
  std::string path;  // ".../cpuidle/state2"
  unsigned latency = 0;
  bool disabled = false;
};
// One CPU's settings; nullopt: it has none of it.
struct CpuSettings {
  std::optional<std::string> governor, governors, energy, energies, latency;
  topology::CpuSet shared;  // CPUs whose frequency is set together, this one among them
  std::vector<IdleState> idle;
};
struct DeviceInterrupt {
  unsigned number = 0;
  std::string name;
  topology::CpuSet cpus;
};
struct HostTuningFacts {
  IsolationFacts isolation;
  std::map<unsigned, CpuSettings> cpus;
  std::vector<DeviceInterrupt> interrupts;
  topology::CpuSet default_interrupt;  // where those go that come later
  bool balanced = false;               // irqbalance runs
  topology::CpuSet workqueues;         // empty: this kernel does not say
};

// Looks at this machine, only at what the spec asks about.
HostTuningFacts look_at_host_tuning(const HostSpec& asked);
IsolationFacts look_at_isolation();                                       // isolation_facts.cpp
HostTuningFacts assumed_host_tuning(const topology::HostTopology& host);  // another machine: a server of these years

}  // namespace launcher::plan
