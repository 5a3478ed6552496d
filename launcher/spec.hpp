// One virtual machine as the user asked for it. The rule: std::nullopt always means "auto" (the plan decides and says
// what it decided), and nothing in here has been looked up on any host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/cpu_spec.hpp"
#include "launcher/device.hpp"
#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/placement.hpp"

namespace launcher {

enum class Accel { kvm, tcg };

struct MemorySpec {
  topology::Bytes size;                                            // memory.size, required
  OrAuto<topology::Bytes> page;                                    // memory.page: "auto" | "4K" | "2M" | "1G"
  OrAuto<std::vector<unsigned>> nodes;                             // memory.nodes: "auto" | [0, 1] | "0-1"
  topology::MemoryPolicy policy = topology::MemoryPolicy::strict;  // memory.policy
  OrAuto<bool> prealloc;                                           // memory.prealloc; auto: with huge pages
  bool lock = false;                                               // memory.lock
  friend bool operator==(const MemorySpec&, const MemorySpec&) = default;
};

struct BootSpec {
  std::string kernel, initrd, cmdline;  // boot.kernel, boot.initrd, boot.cmdline
  std::string firmware;                 // boot.firmware: a file for -bios; "" is QEMU's own SeaBIOS
  friend bool operator==(const BootSpec&, const BootSpec&) = default;
};

struct Spec {
  std::string name;             // [A-Za-z0-9][A-Za-z0-9._-]{0,62}; default: the file's stem
  std::string machine = "q35";  // an alias is resolved to the versioned name in the plan
  OrAuto<Accel> accel;          // accel: "auto" | "kvm" | "tcg"
  bool windows = false;         // windows: the Hyper-V set, and an RTC in local time
  CpuSpec cpu;
  ClockSpec clock;
  HypervSpec hyperv;
  ScheduleSpec schedule;
  MemorySpec memory;
  std::vector<Device> devices;  // in the order of the kinds, then of the spec
  BootSpec boot;
  std::vector<std::string> extra_args;  // given to QEMU as they are, last
  friend bool operator==(const Spec&, const Spec&) = default;
};

}  // namespace launcher
