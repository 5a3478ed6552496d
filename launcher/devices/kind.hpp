// What every device kind says of itself: its table and slots, and what it asks of the rest of a plan. The rule: a device's header
// needs no more than this, and knows DeviceContext by name only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"

namespace topology {
struct HostTopology;
}  // namespace topology

namespace launcher::inline devices {

// What is fixed about a kind.
struct DeviceKind {
  std::string_view table;   // its table in the spec: "disk"
  bool many = true;         // [[disk]]; false: one [console]
  bool always = false;      // of a single one: a VM has it without its table, too
  unsigned first_slot = 0;  // of the slots of the board's first bus that it owns; 0: it is no PCI device
  unsigned slots = 8;       // how many: with eight functions each
};

// An I/O thread that a device asks for.
struct IothreadWish {
  std::string pool = {};                                 // shared by all who name it; "": the device's own
  unsigned index = 0;                                    // within the pool, or of the device's own
  std::map<std::string, std::uint64_t> properties = {};  // QEMU's, as the first who asks for it says
};

// What one device asks of the rest of the plan, before there is a placement.
struct DeviceNeeds {
  std::vector<IothreadWish> iothreads = {};
  unsigned vhost_workers = 0;                // threads of the kernel's vhost, one per queue pair
  std::optional<unsigned> node = {};         // where the hardware behind it hangs; guide 001 "IRQ Affinity"
  bool boots = false;                        // the guest can boot from it
  bool shared_memory = false;                // another process maps the guest's memory (vhost-user)
  bool guest_nodes = false;                  // the guest shall know its nodes, even if it has only one
  bool locked_memory = false;                // all of the guest's memory is pinned for DMA (vfio)
  std::map<std::string, bool> machine = {};  // properties of the board that it needs: {"nvdimm", true}
  unsigned memory_slots = 0;                 // of the board
  topology::Bytes more_memory = {};          // address space beside the guest's own memory
};

// A function of the host's that the guest has.
struct PassedFunction {
  std::string address;    // "0000:81:00.0"
  topology::CpuSet cpus;  // for its interrupts; empty: where the kernel wants them
  friend bool operator==(const PassedFunction&, const PassedFunction&) = default;
};

// The board's first bus: eight slots for a kind of which there may be many (64 devices, as functions beyond the eighth; seven for
// shares, as 0x1f is the board's own LPC bridge),
// one function of a common slot for what a VM has at most once. A number, once given, stays: a guest names devices by it.
namespace slots {
constexpr unsigned vga = 0x01, bridges = 0x02, singles = 0x03, controllers = 0x04, ports = 0x05;
constexpr unsigned memory = 0x06;  // and 0x07: a function for each of the guest's nodes that can be given more
constexpr unsigned disks = 0x08, nics = 0x10, shares = 0x18;
}  // namespace slots
}  // namespace launcher::devices
