// Steps that lend PCI functions and USB devices to a guest. The rule: a function goes back to the driver it was found with, whether or
// not the step that took it happened; virtual functions go with the last VM that uses them, and only if vmrun made them.
#pragma once

#include <boost/mp11/algorithm.hpp>
#include <optional>
#include <string>

namespace launcher::inline host {
class Host;
}  // namespace launcher::inline host

namespace launcher::inline steps {

struct PerformContext;

// Not undone: a module that is loaded costs nothing, and who else uses it by then cannot be known.
struct LoadModule {
  std::string name;
  friend bool operator==(const LoadModule&, const LoadModule&) = default;
};
// count virtual functions, where there are none; vf is the one this VM takes, and has to be at that address.
struct CreateVfs {
  std::string physical;
  unsigned count = 0;
  unsigned vf = 0;
  std::string address;
  friend bool operator==(const CreateVfs&, const CreateVfs&) = default;
};
// Unless another VM's journal has the same, or somebody else uses one of them.
struct RemoveVfs {
  std::string physical;
  unsigned count = 0;
  friend bool operator==(const RemoveVfs&, const RemoveVfs&) = default;
};
struct SetVfMac {
  std::string interface;  // the physical function's
  unsigned vf = 0;
  std::string mac;
  std::string found;  // the address it had; "": it was not there yet
  friend bool operator==(const SetVfMac&, const SetVfMac&) = default;
};
struct BindVfio {
  std::string address;
  std::optional<std::string> driver;  // found: "" none; nullopt: not known beforehand
  std::string driver_override;        // found; "": none
  friend bool operator==(const BindVfio&, const BindVfio&) = default;
};
struct GiveBack {
  std::string address;
  std::optional<std::string> driver;
  std::string driver_override;
  friend bool operator==(const GiveBack&, const GiveBack&) = default;
};
// Opens the function's own device file for QEMU; or, without fd, lets QEMU open that of its IOMMU group by path.
struct OpenVfio {
  std::string address;
  std::optional<int> fd;
  friend bool operator==(const OpenVfio&, const OpenVfio&) = default;
};

// A USB device, opened for QEMU, which takes it from the host's drivers.
struct TakeUsb {
  std::string port;  // "1-2.3"
  std::string node;  // "/dev/bus/usb/001/004"
  int fd = -1;
  friend bool operator==(const TakeUsb&, const TakeUsb&) = default;
};
// QEMU gives a device back to its drivers; a QEMU that was killed did not.
struct GiveBackUsb {
  std::string port;
  friend bool operator==(const GiveBackUsb&, const GiveBackUsb&) = default;
};

template <class T>
concept PciStep = boost::mp11::mp_contains<boost::mp11::mp_list<LoadModule, CreateVfs, RemoveVfs, SetVfMac, BindVfio,
                                                                GiveBack, OpenVfio, TakeUsb, GiveBackUsb>,
                                           T>::value;

std::string describe(const LoadModule& step);
std::string describe(const CreateVfs& step);
std::string describe(const RemoveVfs& step);
std::string describe(const SetVfMac& step);
std::string describe(const BindVfio& step);
std::string describe(const GiveBack& step);
std::string describe(const OpenVfio& step);
std::string describe(const TakeUsb& step);
std::string describe(const GiveBackUsb& step);

void perform(const LoadModule& step, PerformContext& context);
void perform(const CreateVfs& step, PerformContext& context);
void perform(const RemoveVfs& step, PerformContext& context);
void perform(const SetVfMac& step, PerformContext& context);
void perform(const BindVfio& step, PerformContext& context);
void perform(const GiveBack& step, PerformContext& context);
void perform(const OpenVfio& step, PerformContext& context);
void perform(const TakeUsb& step, PerformContext& context);
void perform(const GiveBackUsb& step, PerformContext& context);

}  // namespace launcher::inline steps
