#include "launcher/host/pci_functions.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "launcher/host/host.hpp"
#include "topology/words.hpp"

namespace launcher::inline host {

namespace {

std::string file_of(const std::string& address, std::string_view name) {
  constexpr std::size_t uuid = 36;
  return fmt::format("/sys/bus/{}/devices/{}{}{}", address.size() == uuid ? "mdev" : "pci", address,
                     name.empty() ? "" : "/", name);
}

}  // namespace

bool has_function(KernelFiles& kernel, const std::string& address) { return kernel.exists(file_of(address, "")); }

std::string driver_of(KernelFiles& kernel, const std::string& address) {
  if (!has_function(kernel, address))
    throw std::system_error(ENODEV, std::generic_category(), "PCI function " + address);
  return kernel.link_name(file_of(address, "driver")).value_or("");
}

void set_driver_override(KernelFiles& kernel, const std::string& address, const std::string& driver) {
  kernel.write(file_of(address, "driver_override"), driver);  // an empty line clears it
}

void unbind_driver(KernelFiles& kernel, const std::string& address) {
  if (!driver_of(kernel, address).empty()) kernel.write(file_of(address, "driver/unbind"), address);
}

void probe_driver(KernelFiles& kernel, const std::string& address) {
  kernel.write("/sys/bus/pci/drivers_probe", address);
}

std::vector<std::string> vfs_of(KernelFiles& kernel, const std::string& physical) {
  const auto text = kernel.read(file_of(physical, "sriov_numvfs"));
  const auto count = text ? topology::number_of(*text) : std::nullopt;
  if (!count) throw std::runtime_error(fmt::format("PCI function {} can have no virtual functions", physical));
  std::vector<std::string> vfs;
  vfs.reserve(*count);
  for (std::uint64_t vf = 0; vf < *count; ++vf)
    vfs.push_back(kernel.link_name(file_of(physical, fmt::format("virtfn{}", vf))).value_or(""));
  return vfs;
}

void set_vfs(KernelFiles& kernel, const std::string& physical, unsigned count) {
  kernel.write(file_of(physical, "sriov_numvfs"), std::to_string(count));
}

std::string vfio_node(KernelFiles& kernel, const std::string& address, bool of_group) {
  if (of_group) {
    const auto group = kernel.link_name(file_of(address, "iommu_group"));
    if (!group) throw std::runtime_error(fmt::format("{} has no IOMMU group", address));
    return "/dev/vfio/" + *group;
  }
  const std::vector<std::string> names = kernel.list(file_of(address, "vfio-dev"));
  if (names.empty()) throw std::runtime_error(fmt::format("PCI function {} has no vfio device of its own", address));
  return "/dev/vfio/devices/" + names.front();
}

void probe_usb(KernelFiles& kernel, const std::string& port) {
  for (const std::string& name : kernel.list("/sys/bus/usb/devices"))
    if (name.starts_with(port + ":") && !kernel.exists("/sys/bus/usb/devices/" + name + "/driver"))
      kernel.write("/sys/bus/usb/drivers_probe", name);
}

}  // namespace launcher::host
