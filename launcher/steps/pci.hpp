// Steps that lend PCI functions and USB devices to a guest. The rule: a function goes back to the driver it was found with, whether or
// not the step that took it happened; virtual functions go with the last VM that uses them, and only if vmrun made them.
#pragma once

#include <boost/describe/class.hpp>
#include <optional>
#include <string>

#include "launcher/host/vf_mac.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

// Not undone: a module that is loaded costs nothing, and who else uses it by then cannot be known.
struct LoadModule {
  static constexpr const char* kind = "load_module";
  std::string name;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const LoadModule&, const LoadModule&) = default;
};
BOOST_DESCRIBE_STRUCT(LoadModule, (), (name))

// Unless another VM's journal has the same, or somebody else uses one of them.
struct RemoveVfs {
  static constexpr const char* kind = "remove_vfs";
  std::string physical;
  unsigned count = 0;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const RemoveVfs&, const RemoveVfs&) = default;
};
BOOST_DESCRIBE_STRUCT(RemoveVfs, (), (physical, count))

// count virtual functions, where there are none; vf is the one this VM takes, and has to be at that address.
struct CreateVfs {
  static constexpr const char* kind = "create_vfs";
  static constexpr bool locked = true;
  std::string physical;
  unsigned count = 0;
  unsigned vf = 0;
  std::string address;
  std::string describe() const;
  RemoveVfs undo() const { return {physical, count}; }
  std::optional<RemoveVfs> precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const CreateVfs&, const CreateVfs&) = default;
};
BOOST_DESCRIBE_STRUCT(CreateVfs, (), (physical, count, vf, address))

struct GiveVfMacBack {
  static constexpr const char* kind = "give_vf_mac_back";
  std::string interface;
  unsigned vf = 0;
  std::string mac;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const GiveVfMacBack&, const GiveVfMacBack&) = default;
};
BOOST_DESCRIBE_STRUCT(GiveVfMacBack, (), (interface, vf, mac))

struct SetVfMac {
  static constexpr const char* kind = "set_vf_mac";
  std::string interface;  // the physical function's
  unsigned vf = 0;
  std::string mac;
  std::string found;  // the address it had; "": it was not there yet
  std::string describe() const;
  std::optional<GiveVfMacBack> undo() const;  // none: it goes with the function
  void perform(PerformContext& context) const;
  friend bool operator==(const SetVfMac&, const SetVfMac&) = default;
};
BOOST_DESCRIBE_STRUCT(SetVfMac, (), (interface, vf, mac, found))

struct GiveVfPortBack {
  static constexpr const char* kind = "give_vf_port_back";
  std::string interface;
  unsigned vf = 0;
  VfPort port;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const GiveVfPortBack&, const GiveVfPortBack&) = default;
};
BOOST_DESCRIBE_STRUCT(GiveVfPortBack, (), (interface, vf, port))

struct SetVfPort {
  static constexpr const char* kind = "set_vf_port";
  std::string interface;  // the physical function's
  unsigned vf = 0;
  VfPort port;
  VfPort found;  // of the same what it had; nothing: it was not there yet
  std::string describe() const;
  std::optional<GiveVfPortBack> undo() const;  // none: it goes with the function
  void perform(PerformContext& context) const;
  friend bool operator==(const SetVfPort&, const SetVfPort&) = default;
};
BOOST_DESCRIBE_STRUCT(SetVfPort, (), (interface, vf, port, found))

struct GiveBack {
  static constexpr const char* kind = "give_back";
  std::string address;
  std::optional<std::string> driver;
  std::string driver_override;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const GiveBack&, const GiveBack&) = default;
};
BOOST_DESCRIBE_STRUCT(GiveBack, (), (address, driver, driver_override))

struct BindVfio {
  static constexpr const char* kind = "bind_vfio";
  std::string address;
  std::optional<std::string> driver;  // found: "" none; nullopt: not known beforehand
  std::string driver_override;        // found; "": none
  std::string describe() const;
  GiveBack undo() const { return {address, driver, driver_override}; }
  GiveBack precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const BindVfio&, const BindVfio&) = default;
};
BOOST_DESCRIBE_STRUCT(BindVfio, (), (address, driver, driver_override))

// Opens the function's own device file for QEMU; or, without fd, lets QEMU open that of its IOMMU group by path.
struct OpenVfio {
  static constexpr const char* kind = "open_vfio";
  std::string address;
  std::optional<int> fd;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const OpenVfio&, const OpenVfio&) = default;
};
BOOST_DESCRIBE_STRUCT(OpenVfio, (), (address, fd))

// QEMU gives a device back to its drivers; a QEMU that was killed did not.
struct GiveBackUsb {
  static constexpr const char* kind = "give_back_usb";
  std::string port;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const GiveBackUsb&, const GiveBackUsb&) = default;
};
BOOST_DESCRIBE_STRUCT(GiveBackUsb, (), (port))

// A USB device, opened for QEMU, which takes it from the host's drivers.
struct TakeUsb {
  static constexpr const char* kind = "take_usb";
  std::string port;  // "1-2.3"
  std::string node;  // "/dev/bus/usb/001/004"
  int fd = -1;
  std::string describe() const;
  GiveBackUsb undo() const { return {port}; }
  void perform(PerformContext& context) const;
  friend bool operator==(const TakeUsb&, const TakeUsb&) = default;
};
BOOST_DESCRIBE_STRUCT(TakeUsb, (), (port, node, fd))

}  // namespace launcher::steps
