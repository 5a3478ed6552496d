// One virtual machine as the user asked for it. The rule: std::nullopt always means "auto" (the plan decides and says
// what it decided), and nothing in here has been looked up on any host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "launcher/devices/device.hpp"
#include "launcher/spec/cpu_spec.hpp"
#include "launcher/spec/host_spec.hpp"
#include "launcher/spec/numa_spec.hpp"
#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/placement.hpp"

namespace launcher::inline spec {

enum class Accel { kvm, tcg };

constexpr topology::Bytes most_memory = {std::uint64_t{1} << 52};  // x86-64's physical address space

struct MemorySpec {
  enum class Lock { off, on, on_fault };

  topology::Bytes size;                 // memory.size, required; with [[numa]] the sum of theirs
  OrAuto<topology::Bytes> page;         // memory.page: "auto" | "4K" | "2M" | "1G"
  OrAuto<std::vector<unsigned>> nodes;  // memory.nodes: "auto" | [0, 1] | "0-1"
  topology::MemoryPolicy policy = topology::MemoryPolicy::strict;  // memory.policy
  OrAuto<bool> prealloc;                                           // memory.prealloc; auto: with huge pages
  bool transparent = false;                                        // memory.page = "transparent": 4K, and THP is there
  Lock lock = Lock::off;                                           // memory.lock
  bool merge = false;                                              // memory.merge: the host's KSM may share pages
  bool dump = false;                                               // memory.dump: in a core dump of QEMU
  bool shared = false;                                             // memory.shared: other processes may map it
  std::optional<topology::Bytes> max;                              // memory.max: what virtio-mem can make of it
  friend bool operator==(const MemorySpec&, const MemorySpec&) = default;
};

struct BootSpec {
  std::string kernel, initrd, cmdline;                 // boot.kernel, boot.initrd, boot.cmdline
  std::string firmware;                                // boot.firmware: a file for -bios; "" is QEMU's own SeaBIOS
  bool uefi = false;                                   // boot.firmware = "uefi": by the host's firmware descriptors
  bool secure_boot = false;                            // boot.secure_boot
  std::vector<std::string> order = {"disk", "cdrom"};  // boot.order: tables, what is tried first first
  std::string code, variables;  // boot.code, boot.variables: UEFI's images by hand; "": as the descriptors say
  friend bool operator==(const BootSpec&, const BootSpec&) = default;
};

// When a start is over, and what of the guest says so.
struct ReadySpec {
  enum class By { launch, guest, notify, agent, console, ssh };  // guest: the first of these that it has
  By by = By::launch;                                            // ready
  std::string pattern;                                           // ready_pattern: words on the console
  unsigned timeout = 300;                                        // ready_timeout, in seconds
  friend bool operator==(const ReadySpec&, const ReadySpec&) = default;
};

enum class PanicAction { exit, pause, none };  // panic.action

struct Spec {
  std::string name;             // [A-Za-z0-9][A-Za-z0-9._-]{0,62}; default: the file's stem
  std::string profile_story;    // what `profile` set, for the plan's notes; "" without one
  std::string machine = "q35";  // an alias is resolved to the versioned name in the plan
  OrAuto<Accel> accel;          // accel: "auto" | "kvm" | "tcg"
  std::string uuid;             // uuid: lower case; "": derived from name and host
  bool sleep = false;           // sleep: the guest may sleep to memory and to disk (ACPI S3, S4)
  bool windows = false;         // windows: the Hyper-V set, and an RTC in local time
  CpuSpec cpu;
  ClockSpec clock;
  HypervSpec hyperv;
  ScheduleSpec schedule;
  HostSpec host;
  MemorySpec memory;
  std::vector<NumaSpec> numa;   // [[numa]]; empty: the guest sees those of the host that it is on
  std::vector<Device> devices;  // in the order of the kinds, then of the spec
  BootSpec boot;
  ReadySpec ready;
  PanicAction panic = PanicAction::exit;
  std::vector<std::string> extra_args;  // given to QEMU as they are, last
  friend bool operator==(const Spec&, const Spec&) = default;
};

template <class Kind>
bool has_device(const Spec& spec) {
  for (const Device& one : spec.devices)
    if (std::holds_alternative<Kind>(one)) return true;
  return false;
}

}  // namespace launcher::spec
