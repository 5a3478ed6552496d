// What a VM wants of the host's own settings while it runs ([host]), and what this host has of them. The rule: only the
// VM's own CPUs are tuned, and only for its life; as in spec.hpp, nothing in a HostSpec has been looked up.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/toml_reader.hpp"
#include "topology/cpu_set.hpp"
#include "topology/host_topology.hpp"

namespace launcher {

enum class Wish { no, maybe, yes };  // maybe: where it can be had, and the plan says where not

struct HostSpec {
  Wish isolate = Wish::no;                             // host.isolate: false | true | "auto"
  Wish governor = Wish::no;                            // host.governor: "keep" | "performance" | "auto"
  Wish energy = Wish::no;                              // host.energy: "keep" | "performance" | "auto"
  std::optional<unsigned> max_latency;                 // host.max_latency_us: of C-states; nullopt: as they are
  std::optional<bool> interrupts;                      // host.interrupts: "auto" (with isolate) | "keep" | "move"
  std::optional<bool> workqueues;                      // host.workqueues: the same
  bool asks() const;                                   // anything at all
  Wish moves(const std::optional<bool>& asked) const;  // interrupts or workqueues
  friend bool operator==(const HostSpec&, const HostSpec&) = default;
};
HostSpec read_host_spec(TableReader& table);

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

}  // namespace launcher
