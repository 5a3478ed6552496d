// What a device kind is told when it plans itself, and where it puts its arguments and steps.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/problem.hpp"
#include "launcher/qemu_args.hpp"
#include "launcher/qemu_features.hpp"
#include "launcher/step.hpp"

namespace launcher {

// What the kind wants of place(), before there is a placement.
struct DeviceNeeds {
  bool iothread = false;  // an iothread of its own
};

struct Image {
  std::string path;
  std::string format;  // "raw" | "qcow2"
  friend bool operator==(const Image&, const Image&) = default;
};

// What the machine answered about one device's files; found out before the plan, so that planning itself does no I/O.
struct DeviceFacts {
  std::optional<unsigned> node;  // of the PCI device behind it, where the firmware says; guide 001 "IRQ Affinity"
  // Disk
  bool exists = false, readable = false, is_block = false;
  std::string format;         // "raw" | "qcow2", by magic
  std::vector<Image> chain;   // backing files, nearest first (qcow2)
  std::string chain_problem;  // why the image or its backing files cannot be used; "" if they can
  bool direct_io = false;     // O_DIRECT open and read worked
  bool io_uring = false;      // an io_uring read (O_DIRECT when direct_io) of this very file worked
  std::string io_uring_why;   // when it did not
  // Nic
  bool bridge_exists = false, tap_exists = false, tap_multi_queue = false, vhost_available = false;
  unsigned bridge_mtu = 0;
  friend bool operator==(const DeviceFacts&, const DeviceFacts&) = default;
};

struct DeviceContext {
  const std::string& vm;
  const QemuFeatures& qemu;
  const DeviceFacts& facts;
  std::string key;           // "disk[0]"
  unsigned index = 0;        // within its kind
  bool shares_slot = false;  // more than eight of its kind: function 0 of a slot must say that others follow
  unsigned vcpus = 1;
  bool kvm = false;
  bool root = false;            // vmrun has the rights to make taps
  unsigned uid = 0;             // QEMU's
  std::string run_dir;          // "/run/vmrun/db"
  std::string mac;              // this card's, derived from the VM's name
  std::string tap_name;         // likewise
  bool boots_from_net = false;  // nothing else to boot from: network cards keep their boot ROM
  std::string iothread;         // id of this device's iothread; "" if it has none
  QemuArgs& args;
  FdPlan& fds;
  std::vector<PlannedStep>& steps;
  Problems& problems;
  std::vector<std::string>& notes;  // what "auto" became and why

  // Adds a problem about one of this device's keys.
  void problem(const std::string& name, std::string what, std::string help) const {
    problems.push_back({key + "." + name, std::move(what), std::move(help)});
  }
  void note(const std::string& name, const std::string& text) const { notes.push_back(key + "." + name + ": " + text); }
  std::string origin(const std::string& name) const { return "spec " + key + "." + name; }
};

// "08", "08.1": device i of a kind that owns eight slots from `first`; function numbers beyond the eighth device.
constexpr std::size_t most_of_a_kind = 64;
std::string pci_address(unsigned first_slot, unsigned index);

}  // namespace launcher
