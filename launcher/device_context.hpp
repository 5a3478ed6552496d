// What a device kind is told when it plans itself, and where it puts its arguments and steps.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/interrupts.hpp"
#include "launcher/problem.hpp"
#include "launcher/qemu_args.hpp"
#include "launcher/qemu_features.hpp"
#include "launcher/step.hpp"
#include "topology/host_topology.hpp"
#include "topology/placement.hpp"

namespace launcher {

// What is fixed about a kind.
struct DeviceKind {
  std::string_view table;   // its table in the spec: "disk"
  bool many = true;         // [[disk]]; false: one [console]
  bool always = false;      // of a single one: a VM has it without its table, too
  unsigned first_slot = 0;  // of the eight slots of the board's first bus that it owns; 0: it is no PCI device
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

// What the launch itself must know of the devices.
struct DeviceResults {
  std::string console_socket;  // "" when the VM has no console
  bool console_on_stdio = false;
  unsigned disks_on_bus = 0;                            // PCI functions that disks have so far
  std::map<std::string, std::string> scsi_controllers;  // by the I/O thread pool whose disks share it
  std::map<std::string, unsigned> scsi_disks;           // how many disks hang on each controller
  std::set<std::string> limits;                         // throttle groups that are there
  std::vector<PassedFunction> functions;                // the host's PCI functions that are passed on
  std::vector<std::string> device_nodes;                // files below /dev that QEMU opens by path
  std::map<std::string, unsigned> used_slots;           // by bus: how many devices are on it
};

struct DeviceContext {
  const std::string& vm;
  const QemuFeatures& qemu;
  const topology::HostTopology& host;
  const topology::Placement& placement;  // empty where the VM has no place; then only problems are looked for
  DeviceKind kind;
  std::string key;           // "disk[0]"
  unsigned index = 0;        // within its kind
  bool shares_slot = false;  // more than eight of its kind: function 0 of a slot must say that others follow
  unsigned vcpus = 1;
  bool kvm = false;
  bool root = false;                   // vmrun has the rights to make taps
  unsigned uid = 0;                    // QEMU's
  std::string run_dir;                 // "/run/vmrun/db"
  std::string state_dir;               // "/var/lib/vmrun/db": what outlives the VM's run
  bool boots_from_net = false;         // nothing else to boot from: network cards keep their boot ROM
  std::vector<std::string> iothreads;  // ids of those it asked for
  QemuArgs& args;
  FdPlan& fds;
  std::vector<PlannedStep>& steps;
  Problems& problems;
  std::vector<std::string>& notes;                           // what "auto" became and why
  std::vector<std::pair<std::string, std::string>>& claims;  // key -> what no other VM may have: "MAC 52:54:00:1:2:3"
  DeviceResults& results;

  // Adds a problem about one of this device's keys.
  void problem(const std::string& name, std::string what, std::string help) const {
    problems.push_back({key + "." + name, std::move(what), std::move(help)});
  }
  void note(const std::string& name, const std::string& text) const { notes.push_back(key + "." + name + ": " + text); }
  void claim(const std::string& name, std::string what) const {
    claims.emplace_back(key + "." + name, std::move(what));
  }
  void set_address(Opts& device) const;  // "addr", and "multifunction" where others share the slot
  std::string origin(const std::string& name) const { return "spec " + key + "." + name; }
};

// The board's first bus: eight slots for a kind of which there may be many (64 devices, as functions beyond the eighth),
// one function of a common slot for what a VM has at most once. A number, once given, stays: a guest names devices by it.
namespace slots {
constexpr unsigned vga = 0x01, bridges = 0x02, singles = 0x03, controllers = 0x04, ports = 0x05;
constexpr unsigned memory = 0x06;  // and 0x07: a function for each of the guest's nodes that can be given more
constexpr unsigned disks = 0x08, nics = 0x10, shares = 0x18;
}  // namespace slots
// Functions of slots::singles. The panic device is always there: function 0 makes the others visible.
enum class Single { panic, rng, balloon, vsock, watchdog, agent, usb = 7 };
void set_address(Opts& device, Single single);

constexpr std::size_t most_of_a_kind = 64;
std::string pci_address(unsigned first_slot, unsigned index);  // "08", "08.1": device i of a kind that owns eight slots

}  // namespace launcher
