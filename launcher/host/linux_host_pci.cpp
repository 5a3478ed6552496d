// The verbs on this machine's PCI functions, by sysfs; loading a module, by modprobe; where interrupts go, by /proc/irq;
// values of kernel files.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "launcher/host/host.hpp"
#include "launcher/host/process.hpp"
#include "launcher/host/vf_mac.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline host {

namespace {

std::string file_of(const std::string& address, std::string_view name) {
  return fmt::format("/sys/bus/pci/devices/{}/{}", address, name);
}

void write_or_throw(const std::string& path, const std::string& text) {
  if (const auto error = topology::Sysfs{}.write(path, text + "\n"); error)
    throw std::system_error(error, fmt::format("write '{}' to {}", text, path));
}

}  // namespace

void LinuxHost::load_module(const std::string& name) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::string program = "modprobe", module = name, path = "PATH=/usr/sbin:/sbin:/usr/bin:/bin";
  std::array<char*, 3> argv{program.data(), module.data(), nullptr};
  std::array<char*, 2> environment{path.data(), nullptr};
  pid_t pid = 0;
  int error = ENOENT;
  for (const char* binary : {"/usr/sbin/modprobe", "/sbin/modprobe"})
    if (error == ENOENT) error = posix_spawn(&pid, binary, &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), "start modprobe");
  if (const int code = reap(pid); code != 0)
    throw std::runtime_error(
        fmt::format("modprobe {} ended with exit code {}: has this kernel that module?", name, code));
}

bool LinuxHost::has_function(const std::string& address) { return topology::Sysfs{}.exists(file_of(address, "")); }

std::string LinuxHost::driver_of(const std::string& address) {
  if (!has_function(address)) throw std::system_error(ENODEV, std::generic_category(), "PCI function " + address);
  return topology::Sysfs{}.link_name(file_of(address, "driver")).value_or("");
}

void LinuxHost::set_driver_override(const std::string& address, const std::string& driver) {
  write_or_throw(file_of(address, "driver_override"), driver);  // an empty line clears it
}

void LinuxHost::unbind_driver(const std::string& address) {
  if (!driver_of(address).empty()) write_or_throw(file_of(address, "driver/unbind"), address);
}

void LinuxHost::probe_driver(const std::string& address) { write_or_throw("/sys/bus/pci/drivers_probe", address); }

std::vector<std::string> LinuxHost::vfs_of(const std::string& physical) {
  const topology::Sysfs sysfs;
  const auto count = sysfs.read_number(file_of(physical, "sriov_numvfs"));
  if (!count) throw std::runtime_error(fmt::format("PCI function {} can have no virtual functions", physical));
  std::vector<std::string> vfs;
  vfs.reserve(*count);
  for (std::uint64_t vf = 0; vf < *count; ++vf)
    vfs.push_back(sysfs.link_name(file_of(physical, fmt::format("virtfn{}", vf))).value_or(""));
  return vfs;
}

void LinuxHost::set_vfs(const std::string& physical, unsigned count) {
  write_or_throw(file_of(physical, "sriov_numvfs"), std::to_string(count));
}

void LinuxHost::set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) {
  launcher::set_vf_mac(interface, vf, mac);
}

void LinuxHost::set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) {
  launcher::set_vf_port(interface, vf, port);
}

std::string LinuxHost::vfio_node(const std::string& address, bool of_group) {
  const topology::Sysfs sysfs;
  if (of_group) {
    const auto group = sysfs.link_name(file_of(address, "iommu_group"));
    if (!group) throw std::runtime_error(fmt::format("PCI function {} has no IOMMU group", address));
    return "/dev/vfio/" + *group;
  }
  const std::vector<std::string> names = sysfs.list(file_of(address, "vfio-dev"));
  if (names.empty()) throw std::runtime_error(fmt::format("PCI function {} has no vfio device of its own", address));
  return "/dev/vfio/devices/" + names.front();
}

void LinuxHost::probe_usb(const std::string& port) {
  const topology::Sysfs sysfs;
  for (const std::string& name : sysfs.list("/sys/bus/usb/devices"))
    if (name.starts_with(port + ":") && !sysfs.exists("/sys/bus/usb/devices/" + name + "/driver"))
      write_or_throw("/sys/bus/usb/drivers_probe", name);
}

std::optional<std::string> LinuxHost::read_value(const std::string& path) { return topology::Sysfs{}.read(path); }

void LinuxHost::write_value(const std::string& path, const std::string& text) { write_or_throw(path, text); }

}  // namespace launcher::host
