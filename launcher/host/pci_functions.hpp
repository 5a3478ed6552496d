// PCI functions and USB ports: which driver has them, by kernel files (Documentation/ABI/testing/sysfs-bus-pci). Addresses are
// "0000:81:00.0".
#pragma once

#include <string>
#include <vector>

namespace launcher::inline host {

class KernelFiles;

bool has_function(KernelFiles& kernel, const std::string& address);
std::string driver_of(KernelFiles& kernel, const std::string& address);  // "": none; throws where it is gone
void set_driver_override(KernelFiles& kernel, const std::string& address, const std::string& driver);
void unbind_driver(KernelFiles& kernel, const std::string& address);  // none: fine
void probe_driver(KernelFiles& kernel, const std::string& address);
std::vector<std::string> vfs_of(KernelFiles& kernel, const std::string& physical);  // addresses, by number
void set_vfs(KernelFiles& kernel, const std::string& physical, unsigned count);
// "/dev/vfio/12" of a function, or of a mediated device by its UUID
std::string vfio_node(KernelFiles& kernel, const std::string& address, bool of_group);
void probe_usb(KernelFiles& kernel, const std::string& port);  // drivers for what has none; unplugged: fine

}  // namespace launcher::host
