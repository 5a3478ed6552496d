// One PCI function as the kernel's files show it. The rule: read-only, and each reason why the host needs the function
// itself is a sentence, so that a refusal can be read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "topology/sysfs.hpp"

namespace launcher::inline facts {

// Another function of the same IOMMU group: whoever has one of them can reach the others' memory.
struct PciNeighbour {
  std::string address;
  std::string driver;  // "": none
  bool bridge = false;
  friend bool operator==(const PciNeighbour&, const PciNeighbour&) = default;
};

struct PciFunction {
  std::string address;                // "0000:81:00.0"
  std::string class_id;               // "010802": class, subclass, interface
  std::optional<unsigned> node;       // nullopt: the firmware does not say
  std::optional<std::string> driver;  // "": none; nullopt: not known (another machine, a function still to be made)
  std::string driver_override;        // as it was found; "": none
  bool iommu = true;                  // it has an IOMMU group, or will have one
  std::vector<PciNeighbour> neighbours;
  std::vector<std::string> uses;        // why the host needs it: "nvme0n1p1 is mounted on /srv"
  std::string slow_link;                // "width 4 of 16"; "": as fast as it can be, or it is not known
  unsigned total_vfs = 0;               // how many virtual functions it can have
  unsigned vf_offset = 0, vf_step = 0;  // from its own number to the first one's, and on to the next
  std::vector<std::string> vfs;         // those it has
  friend bool operator==(const PciFunction&, const PciFunction&) = default;
};

// "0000:81:00.0" of that, of "81:00.0" or of capitals; nullopt: no address.
std::optional<std::string> pci_function_address(std::string_view text);
// That of a physical function's virtual one (PCIe base specification, 9.3.3.8 and 9.3.3.9: by routing id).
std::string vf_address(const PciFunction& physical, unsigned vf);

bool is_bridge(const PciFunction& function);

std::optional<PciFunction> look_at_function(const topology::Sysfs& sysfs, const std::string& address);
// Addresses of all functions whose class begins so ("0108"), in order.
std::vector<std::string> functions_of_class(const topology::Sysfs& sysfs, std::string_view class_prefix);
// Why the host needs the disks, interfaces and displays below a device of sysfs ("/sys/bus/usb/devices/1-2").
std::vector<std::string> uses_below(const topology::Sysfs& sysfs, const std::string& device);
// The function that a network interface belongs to.
std::optional<std::string> function_of_interface(const topology::Sysfs& sysfs, const std::string& interface);
// The network interfaces that a function has.
std::vector<std::string> interfaces_of(const topology::Sysfs& sysfs, const std::string& address);

}  // namespace launcher::facts
