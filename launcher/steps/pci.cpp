#include "launcher/steps/pci.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <vector>

#include "launcher/host/host.hpp"
#include "launcher/host/pci_functions.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

namespace {

constexpr const char* vfio = "vfio-pci";

// "VLAN 100, trust off, spoof check on"
std::string in_words(const VfPort& port) {
  std::string text;
  const auto add = [&text](std::string one) { text += (text.empty() ? "" : ", ") + std::move(one); };
  if (port.vlan) add(*port.vlan == 0 ? "no VLAN" : fmt::format("VLAN {}", *port.vlan));
  if (port.trust) add(*port.trust ? "trust on" : "trust off");
  if (port.spoof_check) add(*port.spoof_check ? "spoof check on" : "spoof check off");
  return text;
}

std::string driver_name(const std::string& driver) { return driver.empty() ? "no driver" : "driver " + driver; }

}  // namespace

std::string LoadModule::describe() const { return fmt::format("load kernel module {}", name); }

std::string CreateVfs::describe() const {
  return fmt::format("have {} virtual functions of {}, number {} at {}", count, physical, vf, address);
}

std::string RemoveVfs::describe() const {
  return fmt::format("remove the virtual functions of {} when no VM uses them", physical);
}

std::string SetVfMac::describe() const {
  return fmt::format("give virtual function {} of {} MAC address {}", vf, interface, mac);
}

std::string GiveVfMacBack::describe() const {
  return fmt::format("give virtual function {} of {} MAC address {}", vf, interface, mac);
}

std::string SetVfPort::describe() const {
  return fmt::format("give virtual function {} of {} {}", vf, interface, in_words(port));
}

std::string GiveVfPortBack::describe() const {
  return fmt::format("give virtual function {} of {} {}", vf, interface, in_words(port));
}

std::string BindVfio::describe() const {
  return fmt::format("take {} from {} and bind it to vfio-pci", address, driver ? driver_name(*driver) : "its driver");
}

std::string GiveBack::describe() const {
  return fmt::format("give {} back to {}", address, driver ? driver_name(*driver) : "its driver");
}

std::string OpenVfio::describe() const {
  return fd ? fmt::format("open {}'s own vfio device", address)
            : fmt::format("let QEMU open {}'s IOMMU group", address);
}

std::string TakeUsb::describe() const { return fmt::format("open the USB device at port {} ({})", port, node); }

std::string GiveBackUsb::describe() const {
  return fmt::format("give the USB device at port {} back to its drivers", port);
}

void LoadModule::perform(PerformContext& context) const { context.host.processes.load_module(name); }

// Those that are there already are somebody else's, unless another VM made them and shares them.
std::optional<RemoveVfs> CreateVfs::precheck(PerformContext& context) const {
  const bool ours =
      vfs_of(context.host.kernel, physical).empty() || (context.others_have && context.others_have(Undo{undo()}));
  return ours ? std::optional(undo()) : std::nullopt;
}

void CreateVfs::perform(PerformContext& context) const {
  std::vector<std::string> there = vfs_of(context.host.kernel, physical);
  if (there.empty()) {
    set_vfs(context.host.kernel, physical, count);
    there = vfs_of(context.host.kernel, physical);
  }
  if (vf >= there.size())
    throw std::runtime_error(
        fmt::format("{} has {} virtual functions, number {} was wanted", physical, there.size(), vf));
  if (there[vf] != address)
    throw std::runtime_error(
        fmt::format("virtual function {} of {} is at {}, planned was {}", vf, physical, there[vf], address));
}

void RemoveVfs::perform(UndoContext& context) const {
  if (context.others_have(Undo{*this})) return;  // the last of them removes them
  const std::vector<std::string> there = vfs_of(context.host.kernel, physical);
  if (there.size() != count) return;  // not made, gone already, or somebody else's by now
  for (const std::string& one : there)
    if (driver_of(context.host.kernel, one) == vfio)
      throw std::runtime_error(fmt::format("{} is still bound to vfio-pci: another program has it", one));
  set_vfs(context.host.kernel, physical, 0);
}

void SetVfMac::perform(PerformContext& context) const { context.host.links.set_vf_mac(interface, vf, mac); }

std::optional<GiveVfMacBack> SetVfMac::undo() const {
  if (found.empty()) return std::nullopt;
  return GiveVfMacBack{interface, vf, found};
}

void GiveVfMacBack::perform(UndoContext& context) const { context.host.links.set_vf_mac(interface, vf, mac); }

void SetVfPort::perform(PerformContext& context) const { context.host.links.set_vf_port(interface, vf, port); }

std::optional<GiveVfPortBack> SetVfPort::undo() const {
  if (found == VfPort{}) return std::nullopt;
  return GiveVfPortBack{interface, vf, found};
}

void GiveVfPortBack::perform(UndoContext& context) const { context.host.links.set_vf_port(interface, vf, port); }

GiveBack BindVfio::precheck(PerformContext& context) const {
  const std::string now = driver_of(context.host.kernel, address);
  if (driver && now != *driver)
    throw std::runtime_error(fmt::format("it changed since it was looked at: {} was bound, now {} is",
                                         driver_name(*driver), driver_name(now)));
  return undo();
}

void BindVfio::perform(PerformContext& context) const {
  KernelFiles& kernel = context.host.kernel;
  const std::string now = driver_of(kernel, address);
  if (now == vfio) return;
  set_driver_override(kernel, address, vfio);
  if (!now.empty()) unbind_driver(kernel, address);
  probe_driver(kernel, address);
  if (const std::string after = driver_of(kernel, address); after != vfio)
    throw std::runtime_error(fmt::format("the kernel bound {} instead", driver_name(after)));
}

void GiveBack::perform(UndoContext& context) const {
  KernelFiles& kernel = context.host.kernel;
  if (!has_function(kernel, address)) return;  // a virtual function that has gone
  const std::string now = driver_of(kernel, address);
  set_driver_override(kernel, address, driver_override);
  if (driver == now) return;
  if (now == vfio) unbind_driver(kernel, address);
  if (driver == "") return;
  if (now.empty() || now == vfio) probe_driver(kernel, address);
  const std::string after = driver_of(kernel, address);
  if (driver && after != *driver) throw std::runtime_error(fmt::format("{} has it now", driver_name(after)));
}

void TakeUsb::perform(PerformContext& context) const {
  context.opened.fds[fd] = context.host.files.open_file(node, true, false);
}

void GiveBackUsb::perform(UndoContext& context) const { probe_usb(context.host.kernel, port); }

void OpenVfio::perform(PerformContext& context) const {
  const std::string node = vfio_node(context.host.kernel, address, !fd);
  if (fd)
    context.opened.fds[*fd] = context.host.files.open_file(node, true, false);
  else
    context.opened.device_nodes.insert(node);
}

}  // namespace launcher::steps
