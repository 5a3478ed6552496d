// What the machine has of the functions a spec asks for, and which of them a VM takes.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>

#include "launcher/devices/pci.hpp"
#include "launcher/devices/pci_classes.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/vf_mac.hpp"
#include "topology/host_topology.hpp"

namespace launcher::inline devices {

using topology::Sysfs;

namespace {

constexpr unsigned most_vfs_by_default = 8;  // each costs the device queues, and its driver an interface at once

std::optional<std::string> physical_address(const Pci& pci, const Sysfs& sysfs) {
  if (const auto address = pci_function_address(pci.vf_of)) return address;
  return function_of_interface(sysfs, pci.vf_of);
}

// Those it has, or those it will have.
std::vector<PciFunction> virtual_functions(const Pci& pci, const PciFunction& physical, const Sysfs* sysfs) {
  std::vector<PciFunction> all;
  for (const std::string& address : physical.vfs)
    if (auto one = sysfs != nullptr ? look_at_function(*sysfs, address) : std::nullopt) all.push_back(std::move(*one));
  if (!all.empty()) return all;
  const unsigned count = std::min(physical.total_vfs, pci.vfs.value_or(most_vfs_by_default));
  for (unsigned vf = 0; vf < count; ++vf) {
    PciFunction one;
    one.address = vf_address(physical, vf);
    one.class_id = physical.class_id;
    one.node = physical.node;
    one.iommu = physical.iommu;
    all.push_back(std::move(one));
  }
  return all;
}

// As a function that is nobody's: its driver is vfio's from the start, and its group is its own.
std::optional<PciFunction> look_at_mdev(const Sysfs& sysfs, const std::string& uuid) {
  const std::string path = "/sys/bus/mdev/devices/" + uuid;
  if (!sysfs.exists(path)) return std::nullopt;
  PciFunction one;
  one.address = uuid;
  one.driver = "vfio-pci";
  one.iommu = sysfs.exists(path + "/iommu_group");
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(sysfs.at(path), error);
  if (!error) one.node = sysfs.node_of("/sys/bus/pci/devices/" + real.parent_path().filename().string());
  return one;
}

// Is there IOMMU_IOAS_MAP_FILE (include/uapi/linux/iommufd.h, from 6.13 on)? Asked with an argument too short for it, by which nothing
// can come about: EINVAL where it is known, else ENOTTY (drivers/iommu/iommufd/main.c). true also where it cannot be asked.
bool can_map_files(const Sysfs& sysfs) {
  constexpr unsigned long map_file = _IO(';', 0x8f);
  const Fd iommu(open(sysfs.at("/dev/iommu").c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (iommu.get() < 0 || fstat(iommu.get(), &info) < 0 || !S_ISCHR(info.st_mode)) return true;
  std::uint32_t size = sizeof size;
  return ioctl(iommu.get(), map_file, &size) == 0 || errno != ENOTTY;
}

std::string thing(const std::string& address) { return "PCI function " + address; }

// A neighbour may stay where it is: a bridge is the host's in any case, one without a driver reaches nothing.
bool harmless(const PciNeighbour& one) {
  return one.bridge || one.driver.empty() || one.driver == "vfio-pci" || one.driver == "pci-stub";
}

std::vector<std::string> neighbours_taken(const PciFunction& function, const std::set<std::string>& ours,
                                          const std::map<std::string, std::string>& owners) {
  std::vector<std::string> taken;
  for (const PciNeighbour& one : function.neighbours) {
    if (const auto owner = owners.find(thing(one.address)); owner != owners.end())
      taken.push_back(fmt::format("{}, which belongs to VM {}", one.address, owner->second));
    else if (!harmless(one) && !ours.contains(one.address))
      taken.push_back(fmt::format("{}, which the host's driver {} has", one.address, one.driver));
  }
  return taken;
}

}  // namespace

Pci::Facts look_at(const Pci& pci) { return look_at(pci, Sysfs{}); }

Pci::Facts look_at(const Pci& pci, const Sysfs& sysfs) {
  Pci::Facts facts;
  facts.vfio_loaded = sysfs.exists("/sys/bus/pci/drivers/vfio-pci");
  if (!pci.rom_file.empty()) facts.rom_misfit = misfit(pci.rom_file, {S_IFREG});
  facts.iommufd_there = sysfs.exists("/dev/iommu") && (!facts.vfio_loaded || sysfs.exists("/sys/class/vfio-dev"));
  if (pci.iommufd == true && facts.iommufd_there) facts.maps_files = can_map_files(sysfs);
  if (!pci.vf_of.empty()) {
    if (const auto address = physical_address(pci, sysfs)) facts.physical = look_at_function(sysfs, *address);
    if (!facts.physical) return facts;
    facts.candidates = virtual_functions(pci, *facts.physical, &sysfs);
    for (const std::string& interface : interfaces_of(sysfs, facts.physical->address)) {
      facts.interface = interface;
      const auto macs = vf_macs(interface);
      facts.sets_macs = macs.has_value();
      facts.vf_macs = macs.value_or(std::vector<std::string>{});
      facts.vf_ports = vf_ports(interface);
    }
    return facts;
  }
  if (!pci.mdev.empty()) {
    if (auto one = look_at_mdev(sysfs, pci.mdev)) facts.candidates.push_back(std::move(*one));
    return facts;
  }
  const std::vector<std::string> named{pci.address};
  for (const std::string& address :
       pci.class_name.empty() ? named : functions_of_class(sysfs, class_prefix(pci.class_name)))
    if (auto one = look_at_function(sysfs, address)) facts.candidates.push_back(std::move(*one));
  return facts;
}

// Of another machine: what its description lists is there and free; one that lists no devices has what is asked for.
Pci::Facts assumed(const Pci& pci, const topology::HostTopology& host) {
  Pci::Facts facts;
  facts.vfio_loaded = facts.iommufd_there = facts.sets_macs = true;
  if (!pci.mdev.empty()) {
    PciFunction& one = facts.candidates.emplace_back();
    one.address = pci.mdev;
    return facts;
  }
  std::vector<PciFunction> listed;
  for (const topology::PciDevice& device : host.devices) {
    PciFunction one;
    one.address = device.address;
    one.class_id = device.class_id;
    if (device.node >= 0) one.node = static_cast<unsigned>(device.node);
    const bool named = one.address == pci.address || one.address == pci_function_address(pci.vf_of) ||
                       std::ranges::find(device.os_devices, pci.vf_of) != device.os_devices.end();
    if (named || (!pci.class_name.empty() && one.class_id.starts_with(class_prefix(pci.class_name))))
      listed.push_back(std::move(one));
  }
  if (listed.empty() && host.devices.empty() && pci.class_name.empty()) {
    PciFunction one;
    one.address = pci.vf_of.empty() ? pci.address : pci_function_address(pci.vf_of).value_or("0000:01:00.0");
    listed.push_back(std::move(one));
  }
  if (pci.vf_of.empty()) {
    facts.candidates = std::move(listed);
  } else if (!listed.empty()) {
    facts.physical = std::move(listed.front());
    facts.physical->total_vfs = 64;
    facts.physical->vf_offset = 8;  // a common first number: the next device of the same bus
    facts.physical->vf_step = 1;
    facts.interface = pci_function_address(pci.vf_of) ? "its interface" : pci.vf_of;
    facts.candidates = virtual_functions(pci, *facts.physical, nullptr);
  }
  return facts;
}

void choose_functions(const std::vector<std::pair<const Pci*, Pci::Facts*>>& asked,
                      const std::map<std::string, std::string>& owners, const std::set<std::string>& makers_of_vfs) {
  std::set<std::string> ours;
  for (const auto& [pci, facts] : asked)
    if (!pci->address.empty()) ours.insert(pci->address);
  for (const auto& [pci, facts] : asked) {
    if (!pci->address.empty() || !pci->mdev.empty()) {
      if (!facts->candidates.empty()) facts->chosen = 0;
      continue;
    }
    for (unsigned i = 0; i < facts->candidates.size() && !facts->chosen; ++i) {
      const PciFunction& one = facts->candidates[i];
      const auto against = [&](const std::string& why) { facts->against.push_back(one.address + ": " + why); };
      if (const auto owner = owners.find(thing(one.address)); owner != owners.end())
        against("it belongs to VM " + owner->second);
      else if (ours.contains(one.address))
        continue;
      else if (pci->node && one.node != pci->node)
        against(one.node ? fmt::format("it hangs on node {}", *one.node) : "its node is not known");
      else if (!one.uses.empty())
        against(one.uses.front());
      else if (!one.iommu)
        against("it has no IOMMU group");
      else if (const auto taken = neighbours_taken(one, ours, owners); !taken.empty() && pci->vf_of.empty())
        against("its IOMMU group also holds " + taken.front());
      else
        facts->chosen = i;
    }
    if (facts->chosen) ours.insert(facts->candidates[*facts->chosen].address);
    if (facts->physical)
      facts->removes_vfs = facts->physical->vfs.empty() || makers_of_vfs.contains(facts->physical->address);
  }
  for (const auto& [pci, facts] : asked)
    if (facts->chosen) facts->neighbours_taken = neighbours_taken(facts->candidates[*facts->chosen], ours, owners);
}

DeviceNeeds needs(const Pci& pci, const Pci::Facts& facts, unsigned) {
  DeviceNeeds all{.guest_nodes = pci.expose_node == true, .locked_memory = true};
  if (!facts.chosen) return all;
  const PciFunction& function = facts.candidates.at(*facts.chosen);
  all.node = function.node;
  all.boots = function.class_id.starts_with("01");
  return all;
}

}  // namespace launcher::devices
