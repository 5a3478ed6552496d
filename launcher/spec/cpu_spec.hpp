// What a spec says of the guest's CPUs, clocks, Hyper-V interfaces, and of how the host schedules its threads. The rule:
// as in spec.hpp, std::nullopt means "auto", and nothing has been looked up.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/text/problem.hpp"
#include "launcher/text/toml_reader.hpp"
#include "topology/cpu_set.hpp"
#include "topology/placement.hpp"

namespace launcher::inline spec {

template <class T>
using OrAuto = std::optional<T>;

enum class CacheLevel { core, die, socket };  // who shares a guest's cache (QEMU has none of a thread's own)

struct CpuSpec {
  unsigned count = 1;                                    // cpu.count, 1..4096
  OrAuto<std::string> model;                             // cpu.model; auto: "host" under KVM, "max" under TCG
  OrAuto<unsigned> threads;                              // cpu.threads: 1 to 4 (guest threads per core)
  OrAuto<unsigned> sockets;                              // cpu.sockets
  OrAuto<unsigned> cores;                                // cpu.cores, per socket
  topology::Pinning pin = topology::Pinning::automatic;  // cpu.pin: "auto" | "off" | "4-7" | [4, 5, 6, 7]
  std::vector<unsigned> pin_list;                        // the CPU of vCPU 0, 1, ... when listed
  OrAuto<topology::CpuSet> emulator;                     // cpu.emulator: "auto" | "0-1" | [0, 1]
  topology::CpuKindChoice kind =
      topology::CpuKindChoice::automatic;                    // cpu.kind: "auto" | "performance" | "efficiency" | "any"
  OrAuto<unsigned> host_l3;                                  // cpu.host_l3: the L3 whose cores the vCPUs get
  bool largest_l3 = false;                                   // cpu.host_l3 = "largest"
  topology::Siblings siblings = topology::Siblings::prefer;  // cpu.siblings: "prefer" | "isolate" | "require"
  std::vector<std::string> add, remove, require;             // cpu.add, ...: CPU features by QEMU's names, "_" made "-"
  OrAuto<bool> nested;                                       // cpu.nested: vmx or svm; auto: as the model has it
  OrAuto<bool> pmu;                                          // cpu.pmu; auto: as the model has it
  OrAuto<bool> dedicated;         // cpu.dedicated: kvm-hint-dedicated; auto: where the CPUs are its own
  OrAuto<bool> poll_control;      // cpu.poll_control: kvm-poll-control; auto: as the model has it
  bool pm = false;                // cpu.pm: HLT, MWAIT and PAUSE do not leave the guest
  OrAuto<bool> host_caches;       // cpu.host_caches: the guest is told the host's cache sizes
  OrAuto<CacheLevel> l1, l2, l3;  // cpu.l1 (data and instructions), ...; auto: QEMU's own
  friend bool operator==(const CpuSpec&, const CpuSpec&) = default;
};

enum class RtcBase { utc, localtime };
enum class DriftFix { none, slew };

struct ClockSpec {
  OrAuto<RtcBase> base;             // clock.base; auto: utc, for Windows localtime
  OrAuto<DriftFix> drift_fix;       // clock.drift_fix: what becomes of RTC interrupts that came too late
  OrAuto<bool> hpet;                // clock.hpet; auto: off
  OrAuto<bool> pit;                 // clock.pit; auto: off under KVM
  OrAuto<bool> kvmclock;            // clock.kvmclock; auto: as the model has it
  OrAuto<bool> invtsc;              // clock.invtsc; auto: with model "host" where this host's TSC never stops
  OrAuto<std::uint64_t> frequency;  // clock.tsc_frequency in Hz; auto: the host's
  friend bool operator==(const ClockSpec&, const ClockSpec&) = default;
};

// One Hyper-V enlightenment. The table is in an order in which nothing comes before what it needs.
struct HypervKnob {
  const char* key;                      // in [hyperv]
  const char* feature;                  // QEMU's property
  bool of_windows;                      // in the set that `windows = true` gives
  std::vector<const char*> needs = {};  // other keys
  const char* why = "";
};
const std::vector<HypervKnob>& hyperv_knobs();

struct HypervSpec {
  std::map<std::string, bool, std::less<>> asked;  // by key, where the spec says true or false
  std::string vendor_id;                           // hyperv.vendor_id; "": QEMU's
  OrAuto<unsigned> spinlocks;  // hyperv.spinlocks: retries before the guest calls; auto: with windows
  friend bool operator==(const HypervSpec&, const HypervSpec&) = default;
};

// How the host schedules the VM's threads.
struct CacheShare {
  unsigned cache = 0;      // the kernel's id of an L3
  std::uint32_t ways = 0;  // its ways that the VM may fill, as a mask
  friend bool operator==(const CacheShare&, const CacheShare&) = default;
};
struct ScheduleSpec {
  unsigned vcpu_fifo = 0, iothread_fifo = 0;  // schedule.vcpu_fifo, ...: SCHED_FIFO priority; 0: ordinary scheduling
  bool core = false;                          // schedule.core: no other VM or task beside this one's on a core
  OrAuto<unsigned> weight;                    // schedule.weight: cpu.weight of a cgroup of its own
  OrAuto<unsigned> quota;                     // schedule.quota: percent of one CPU, for all of the VM
  std::vector<CacheShare> l3;                 // schedule.l3: "0=f0;1=f"
  friend bool operator==(const ScheduleSpec&, const ScheduleSpec&) = default;
};

ScheduleSpec read_schedule(TableReader& table);
CpuSpec read_cpu(TableReader& table);
ClockSpec read_clock(TableReader& table);
HypervSpec read_hyperv(TableReader& table);

// What these tables contradict within themselves. sound(key): nothing is wrong with that key so far.
struct Spec;
Problems cpu_rules(const Spec& spec, const std::function<bool(std::string_view)>& sound);

}  // namespace launcher::spec
