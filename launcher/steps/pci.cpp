#include "launcher/steps/pci.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <vector>

#include "launcher/host/host.hpp"
#include "launcher/steps/step.hpp"

namespace launcher::inline steps {

namespace {

constexpr const char* vfio = "vfio-pci";

std::string driver_name(const std::string& driver) { return driver.empty() ? "no driver" : "driver " + driver; }

}  // namespace

std::string describe(const LoadModule& step) { return fmt::format("load kernel module {}", step.name); }

std::string describe(const CreateVfs& step) {
  return fmt::format("have {} virtual functions of {}, number {} at {}", step.count, step.physical, step.vf,
                     step.address);
}

std::string describe(const RemoveVfs& step) {
  return fmt::format("remove the virtual functions of {} when no VM uses them", step.physical);
}

std::string describe(const SetVfMac& step) {
  return fmt::format("give virtual function {} of {} MAC address {}", step.vf, step.interface, step.mac);
}

std::string describe(const BindVfio& step) {
  return fmt::format("take {} from {} and bind it to vfio-pci", step.address,
                     step.driver ? driver_name(*step.driver) : "its driver");
}

std::string describe(const GiveBack& step) {
  return fmt::format("give {} back to {}", step.address, step.driver ? driver_name(*step.driver) : "its driver");
}

std::string describe(const OpenVfio& step) {
  return step.fd ? fmt::format("open {}'s own vfio device", step.address)
                 : fmt::format("let QEMU open {}'s IOMMU group", step.address);
}

std::string describe(const TakeUsb& step) {
  return fmt::format("open the USB device at port {} ({})", step.port, step.node);
}

std::string describe(const GiveBackUsb& step) {
  return fmt::format("give the USB device at port {} back to its drivers", step.port);
}

void perform(const LoadModule& step, PerformContext& context) { context.host.load_module(step.name); }

void perform(const CreateVfs& step, PerformContext& context) {
  std::vector<std::string> there = context.host.vfs_of(step.physical);
  if (there.empty()) {
    context.host.set_vfs(step.physical, step.count);
    there = context.host.vfs_of(step.physical);
  }
  if (step.vf >= there.size())
    throw std::runtime_error(
        fmt::format("{} has {} virtual functions, number {} was wanted", step.physical, there.size(), step.vf));
  if (there[step.vf] != step.address)
    throw std::runtime_error(fmt::format("virtual function {} of {} is at {}, planned was {}", step.vf, step.physical,
                                         there[step.vf], step.address));
}

void perform(const RemoveVfs& step, PerformContext& context) {
  if (context.others_use_vfs(step.physical)) return;  // the last of them removes them
  const std::vector<std::string> there = context.host.vfs_of(step.physical);
  if (there.size() != step.count) return;  // not made, gone already, or somebody else's by now
  for (const std::string& one : there)
    if (context.host.driver_of(one) == vfio)
      throw std::runtime_error(fmt::format("{} is still bound to vfio-pci: another program has it", one));
  context.host.set_vfs(step.physical, 0);
}

void perform(const SetVfMac& step, PerformContext& context) {
  context.host.set_vf_mac(step.interface, step.vf, step.mac);
}

void perform(const BindVfio& step, PerformContext& context) {
  Host& host = context.host;
  const std::string now = host.driver_of(step.address);
  if (step.driver && now != *step.driver)
    throw std::runtime_error(fmt::format("it changed since it was looked at: {} was bound, now {} is",
                                         driver_name(*step.driver), driver_name(now)));
  if (now == vfio) return;
  host.set_driver_override(step.address, vfio);
  if (!now.empty()) host.unbind_driver(step.address);
  host.probe_driver(step.address);
  if (const std::string after = host.driver_of(step.address); after != vfio)
    throw std::runtime_error(fmt::format("the kernel bound {} instead", driver_name(after)));
}

void perform(const GiveBack& step, PerformContext& context) {
  Host& host = context.host;
  if (!host.has_function(step.address)) return;  // a virtual function that has gone
  const std::string now = host.driver_of(step.address);
  host.set_driver_override(step.address, step.driver_override);
  if (step.driver == now) return;
  if (now == vfio) host.unbind_driver(step.address);
  if (step.driver == "") return;
  if (now.empty() || now == vfio) host.probe_driver(step.address);
  const std::string after = host.driver_of(step.address);
  if (step.driver && after != *step.driver) throw std::runtime_error(fmt::format("{} has it now", driver_name(after)));
}

void perform(const TakeUsb& step, PerformContext& context) {
  context.opened.fds[step.fd] = context.host.open_file(step.node, true, false);
}

void perform(const GiveBackUsb& step, PerformContext& context) { context.host.probe_usb(step.port); }

void perform(const OpenVfio& step, PerformContext& context) {
  const std::string node = context.host.vfio_node(step.address, !step.fd);
  if (step.fd)
    context.opened.fds[*step.fd] = context.host.open_file(node, true, false);
  else
    context.opened.device_nodes.insert(node);
}

}  // namespace launcher::inline steps
