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

#include "launcher/devices/guest_settings.hpp"
#include "launcher/devices/kind.hpp"
#include "launcher/devices/qemu_args.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/steps/step.hpp"
#include "launcher/text/problem.hpp"
#include "topology/host_topology.hpp"
#include "topology/placement.hpp"

namespace launcher::inline facts {
struct OtherNames;
}  // namespace launcher::facts

namespace launcher::inline devices {

// A network card as the guest gets it.
struct PlannedCard {
  std::string mac;
  unsigned queues = 1;
  std::optional<unsigned> mtu;  // that it says or carries; nullopt: nothing is known
};

// What the launch itself must know of the devices.
struct DeviceResults {
  std::string console_socket;  // "" when the VM has no console
  bool console_on_stdio = false;
  unsigned disks_on_bus = 0;                            // PCI functions that disks have so far
  unsigned sata_ports = 0;                              // of the board's own AHCI
  std::map<std::string, std::string> scsi_controllers;  // by the I/O thread pool whose disks share it
  std::map<std::string, unsigned> scsi_disks;           // how many disks hang on each controller
  std::set<std::string> limits;                         // throttle groups that are there
  unsigned fw_cfg_files = 0;                            // credentials that are files
  std::set<std::string> credentials;                    // names of those that the spec has
  std::vector<PlannedCard> cards;                       // in the order of [[net]]
  std::vector<GuestSetting> guest;                      // what shall be set inside
  std::vector<PassedFunction> functions;                // the host's PCI functions that are passed on
  std::vector<std::string> device_nodes;                // files below /dev that QEMU opens by path
  std::map<std::string, unsigned> used_slots;           // by bus: how many devices are on it
};

// What no other VM may have: "MAC address 52:54:00:1:2:3".
struct Claim {
  std::string key, thing;
  std::string words = {};   // for a person, where `thing` is not: "image '/srv/db.raw'"
  std::string holder = {};  // who has it, where that is no VM of ours
  bool shared = false;      // others may have it who share it, too: an image that is only read
  bool image = false;       // one that need not be written: then read_only = true in both would do
};

struct DeviceContext {
  const std::string& vm;
  const std::string& uuid;
  const QemuFeatures& qemu;
  const topology::HostTopology& host;
  const topology::Placement& placement;  // empty where the VM has no place; then only problems are looked for
  DeviceKind kind;
  std::string key;           // "disk[0]"
  unsigned index = 0;        // within its kind
  bool shares_slot = false;  // more than eight of its kind: function 0 of a slot must say that others follow
  std::string host_id;       // what keeps its identity apart from that of other hosts' VMs; "": nothing
  unsigned vcpus = 1;
  bool kvm = false;
  bool root = false;                               // vmrun has the rights to make taps
  bool notified = false;                           // the guest's systemd is told where to say that it is ready
  bool has_agent = false, has_cloud_init = false;  // ways into the guest
  unsigned uid = 0;                                // QEMU's
  std::string run_dir;                             // "/run/vmrun/db"
  std::string state_dir;                           // "/var/lib/vmrun/db": what outlives the VM's run
  bool boots_from_net = false;                     // network cards keep their boot ROM
  std::optional<unsigned> boot_base;   // what comes before its kind has smaller boot indices; nullopt: none boots
  std::vector<std::string> iothreads;  // ids of those it asked for
  QemuArgs& args;
  FdPlan& fds;
  std::vector<PlannedStep>& steps;
  Problems& problems;
  std::vector<std::string>& notes;  // what "auto" became and why
  std::vector<Claim>& claims;
  DeviceResults& results;

  // Adds a problem about one of this device's keys.
  void problem(const std::string& name, std::string what, std::string help) const {
    problems.push_back({key + "." + name, std::move(what), std::move(help)});
  }
  void note(const std::string& name, const std::string& text) const { notes.push_back(key + "." + name + ": " + text); }
  void claim(const std::string& name, std::string what) const { claims.push_back({key + "." + name, std::move(what)}); }
  // A path that only one VM may have, by what stands there, so that no other name of it gets past. ids: its identities(), none where
  // nobody looked: then the path has to do.
  void claim_path(const std::string& name, const std::string& words, const std::vector<std::string>& ids) const {
    for (const std::string& id : ids) claims.push_back({key + "." + name, id, words});
    if (ids.empty()) claims.push_back({key + "." + name, words});
  }
  void set_address(Opts& device) const;  // "addr", and "multifunction" where others share the slot
  std::string origin(const std::string& name) const { return "spec " + key + "." + name; }
};

constexpr unsigned most_sata_ports = 6;  // ICH9's, "ide.0" to "ide.5"

// Functions of slots::singles. The panic device is always there: function 0 makes the others visible.
enum class Single { panic, rng, balloon, vsock, watchdog, agent, usb = 7 };
void set_address(Opts& device, Single single);

// Of an image, whatever its name, and with it what its other names are names of: all of it as it is, what it is a part of together
// with all who have another part. id: "" where nobody looked.
void claim_image(const DeviceContext& context, const std::string& path, const std::string& id, const OtherNames& names,
                 bool only_read, const std::string& holder);

constexpr unsigned functions_of_a_slot = 8;
constexpr std::size_t most_of_a_kind = 64;
// "08", "08.1": device i of a kind that owns so many slots from that one on
std::string pci_address(unsigned first_slot, unsigned index, unsigned slots = 8);

}  // namespace launcher::devices
