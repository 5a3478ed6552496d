// A PCI function of the host, or a mediated device of one, lent to the guest by vfio: named, the first free one of a class, or a virtual function that
// vmrun has made. Each has a root port of its own: a function of slot 0x05, or of a bus on the guest's node.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "launcher/devices/kind.hpp"
#include "launcher/facts/pci_function.hpp"
#include "launcher/host/vf_mac.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Pci {
  std::string address;              // pci.address: "0000:81:00.0"
  std::string mdev;                 // pci.mdev: a mediated device, by its UUID, in lower case
  std::string class_name;           // pci.class: "nvme", "net", ...: the first free one
  std::optional<unsigned> node;     // pci.node: of the class; auto: any, in the order of addresses
  std::string vf_of;                // pci.vf_of: the physical function, by address or interface
  std::optional<unsigned> vfs;      // pci.vfs: how many are made where there are none; auto: what it offers, at most 8
  std::string mac;                  // pci.mac: of a virtual network function; "": what it has
  VfPort port;                      // pci.vlan, trust, spoof_check of a virtual network function; auto: as they are
  std::optional<bool> expose_node;  // pci.expose_node; auto: in a guest of two or more nodes
  std::optional<bool> iommufd;      // pci.iommufd; auto: off, groups serve every QEMU
  bool rom = true;                  // pci.rom: false hides its boot ROM from the guest
  std::string rom_file;             // pci.rom_file: a file in its place; "": its own

  struct Facts {
    std::vector<PciFunction> candidates;  // of a class; of a physical function, by number; else the one named
    std::optional<PciFunction> physical;
    std::string interface;             // the physical function's
    bool sets_macs = false;            // its driver can
    std::vector<std::string> vf_macs;  // by number
    std::vector<VfPort> vf_ports;      // by number
    bool vfio_loaded = false, iommufd_there = false;
    bool maps_files = true;       // the kernel's iommufd maps memory by its file; also where it could not be asked
    std::string rom_misfit = {};  // why rom_file cannot be used; "" if it can

    // what choose_functions() finds
    std::optional<unsigned> chosen;    // of the candidates
    std::vector<std::string> against;  // "0000:81:00.0: nvme0n1p1 is mounted on /srv": why others were passed over
    std::vector<std::string> neighbours_taken;  // of the chosen one's group, not free to go along
    bool removes_vfs = false;                   // vmrun made them: the last VM removes them
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "pci", .first_slot = slots::ports};
  static Pci read(TableReader& table);
  friend bool operator==(const Pci&, const Pci&) = default;
};

Pci::Facts look_at(const Pci& pci);
Pci::Facts look_at(const Pci& pci, const topology::Sysfs& sysfs);
Pci::Facts assumed(const Pci& pci, const topology::HostTopology& host);
// For all of a VM together: which candidate each takes. owners: thing -> VM ("PCI function 0000:81:00.0"). Pure.
void choose_functions(const std::vector<std::pair<const Pci*, Pci::Facts*>>& asked,
                      const std::map<std::string, std::string>& owners, const std::set<std::string>& makers_of_vfs);
DeviceNeeds needs(const Pci& pci, const Pci::Facts& facts, unsigned vcpus);
void plan_device(const Pci& pci, const Pci::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
