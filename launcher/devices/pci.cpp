#include "launcher/devices/pci.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/pci_node.hpp"
#include "launcher/devices/pci_port.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

namespace {

constexpr unsigned ports_of_board = 8;        // the functions of slots::ports
constexpr unsigned ports_of_second_bus = 15;  // as many bus numbers as are left below the first node's
constexpr unsigned ports_of_node_bus = 24;    // three slots of eight functions
constexpr unsigned most_node_buses = 8;       // the functions of slots::bridges

std::string key_of_choice(const Pci& pci) {
  return !pci.mdev.empty() ? "mdev" : !pci.address.empty() ? "address" : !pci.vf_of.empty() ? "vf_of" : "class";
}

void refuse_choice(const Pci& pci, const Pci::Facts& facts, const DeviceContext& context) {
  const std::string why = facts.against.empty() ? "" : fmt::format(": {}", fmt::join(facts.against, "; "));
  if (!pci.mdev.empty()) {
    context.problem("mdev", fmt::format("this host has no mediated device {}", pci.mdev),
                    "`ls /sys/bus/mdev/devices` lists what it has; `mdevctl start -u UUID` makes one that is defined");
  } else if (!pci.address.empty()) {
    context.problem("address", fmt::format("this host has no PCI function {}", pci.address),
                    "`lspci -D` lists what it has");
  } else if (!pci.class_name.empty()) {
    const std::string where = pci.node ? fmt::format(" of node {}", *pci.node) : "";
    context.problem("class",
                    fmt::format("no function of class \"{}\"{} is free{}", pci.class_name, where,
                                why.empty() ? ": this host has none" : why),
                    "free one, name another by address, or ask for another node");
  } else if (!facts.physical) {
    context.problem("vf_of", fmt::format("this host has no PCI function or interface {}", pci.vf_of),
                    "`lspci -D` and `ip -br link` list what it has");
  } else if (facts.physical->total_vfs == 0) {
    context.problem("vf_of", fmt::format("{} can have no virtual functions", facts.physical->address),
                    "name a function with SR-IOV, or pass this one on itself by address");
  } else {
    context.problem("vf_of", fmt::format("no virtual function of {} is free{}", facts.physical->address, why),
                    "stop a VM that has one; the number of functions is never changed while there are any");
  }
}

void check_function(const Pci& pci, const Pci::Facts& facts, const PciFunction& function,
                    const DeviceContext& context) {
  const std::string key = key_of_choice(pci);
  if (!function.iommu && !pci.mdev.empty())
    context.problem(key, fmt::format("{} has no IOMMU group, by which QEMU would open it", function.address),
                    "`modprobe vfio_mdev` on kernels before 5.16");
  else if (!function.iommu)
    context.problem(
        key, fmt::format("{} has no IOMMU group, so its DMA could reach all of the host's memory", function.address),
        "switch VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on iommu=pt");
  if (!pci.address.empty() && !function.uses.empty())
    context.problem(key, fmt::format("this host uses {}: {}", function.address, fmt::join(function.uses, "; ")),
                    "free it first, or name another function");
  if (!facts.neighbours_taken.empty())
    context.problem(
        key,
        fmt::format("the IOMMU group of {} also holds {}", function.address, fmt::join(facts.neighbours_taken, "; ")),
        "pass all of the group's functions to this VM, or put the card into another slot");
  if (!context.root && function.driver != "vfio-pci" && pci.mdev.empty())
    context.problem(key, fmt::format("{} is not bound to vfio-pci, and binding it needs root", function.address),
                    "run vmrun as root, or have it bound and its group's file in /dev/vfio given to you");
}

void check_physical(const Pci& pci, const Pci::Facts& facts, const DeviceContext& context) {
  const PciFunction& physical = *facts.physical;
  if (physical.vfs.empty() && physical.driver == "")
    context.problem("vf_of",
                    fmt::format("{} has no driver, and only a driver can make virtual functions", physical.address),
                    "load its driver");
  if (pci.vfs && physical.vfs.empty() && *pci.vfs > physical.total_vfs)
    context.problem("vfs",
                    fmt::format("{} of them, but {} can have {}", *pci.vfs, physical.address, physical.total_vfs),
                    "ask for fewer");
  if (pci.vfs && !physical.vfs.empty() && *pci.vfs > physical.vfs.size())
    context.problem("vfs",
                    fmt::format("{} of them, but {} has {} already, and others may use them", *pci.vfs,
                                physical.address, physical.vfs.size()),
                    "remove vfs to take one of those");
  if (!pci.mac.empty() && !facts.sets_macs)
    context.problem("mac",
                    facts.interface.empty()
                        ? fmt::format("{} has no network interface to set it by", physical.address)
                        : fmt::format("the driver of {} cannot set its virtual functions' addresses", facts.interface),
                    "remove mac: the guest then has the address the card gives");
  check_port(pci, facts, context);
}

bool choose_iommufd(const Pci& pci, const Pci::Facts& facts, const DeviceContext& context) {
  if (pci.iommufd != true) return false;
  const bool known = context.qemu.has("vfio-pci.iommufd") && context.qemu.has("vfio-pci.fd");
  if (!known)
    context.problem("iommufd", fmt::format("true, but QEMU {} knows no iommufd for vfio-pci", context.qemu.version),
                    "remove iommufd");
  else if (!facts.iommufd_there)
    context.problem("iommufd", "true, but this kernel offers no /dev/iommu, or vfio devices no files of their own",
                    "run `modprobe iommufd` (CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV), or remove iommufd");
  return true;
}

// Which guest node the function is to be shown on; nullopt: on none.
std::optional<unsigned> choose_node(const Pci& pci, const PciFunction& function, const DeviceContext& context) {
  const topology::Placement& placement = context.placement;
  const auto guest_node = guest_node_near(function, context);
  if (const std::string note = locality(function, context); !note.empty()) context.note(key_of_choice(pci), note);
  if (pci.expose_node == true && !placement.cells.empty()) {
    const auto home = home_of(function, context);
    if (!guest_node)
      context.problem(
          "expose_node",
          function.node ? fmt::format("true, but {} hangs on node {}, and the guest has only node {}", function.address,
                                      *function.node, nodes_text(placement))
                        : fmt::format("true, but it is not known which node {} hangs on", function.address),
          !home ? "remove expose_node"
          : home == function.node
              ? "set memory.nodes so that the device's node is among them, or remove expose_node"
              : fmt::format("set memory.nodes so that node {}, the nearest to it, is among them, or remove expose_node",
                            *home));
    else if (*guest_node >= most_node_buses)
      context.problem(
          "expose_node",
          fmt::format("true, but guest node {} is beyond the {} that can have a bus", *guest_node, most_node_buses),
          "remove expose_node");
  }
  const bool wanted = pci.expose_node.value_or(placement.cells.size() > 1);
  return wanted && guest_node && *guest_node < most_node_buses ? guest_node : std::nullopt;
}

// A root bus beside the board's. number: its own; those up to the next root bus's are its ports'.
void add_bus(const std::string& bus, unsigned number, std::optional<unsigned> guest_node, const std::string& why,
             DeviceContext& context) {
  if (context.results.used_slots.contains(bus)) return;
  const unsigned place = context.results.used_slots["bridges"]++;
  Opts bridge("pxb-pcie");
  bridge.set("id", bus).set("bus", "pcie.0").set("addr", fmt::format("{:02x}.{}", slots::bridges, place));
  if (place == 0) bridge.set("multifunction", true);
  bridge.set("bus_nr", number);
  if (guest_node) bridge.set("numa_node", *guest_node);
  context.args.add("-device", bridge, why, guest_node ? "guide 001" : "default");
}

// The guest node's root bus; else the board's, and when its eight ports are taken a second one of no node.
std::string choose_bus(std::optional<unsigned> guest_node, DeviceContext& context) {
  constexpr unsigned second = 16, first_node = 32, buses_each = 28;
  if (!guest_node && context.results.used_slots["pcie.0"] < ports_of_board) return "pcie.0";
  const std::string bus = guest_node ? fmt::format("node{}", *guest_node) : "more";
  add_bus(bus, guest_node ? first_node + buses_each * *guest_node : second, guest_node,
          guest_node ? fmt::format("what hangs on it shows the guest its node, {}", *guest_node)
                     : "more functions than the board has ports",
          context);
  return bus;
}

// A port of the function's own, as it has on a board; returns its name.
std::string add_port(std::optional<unsigned> guest_node, DeviceContext& context) {
  const std::string bus = choose_bus(guest_node, context);
  const unsigned number = context.results.used_slots[bus]++;
  const std::string id = fmt::format("pci{}-port", context.index);
  if (number >= (guest_node ? ports_of_node_bus : ports_of_second_bus))
    context.problem("address",
                    fmt::format("more functions than {} has ports", guest_node ? "a node's bus" : "the board"),
                    guest_node ? "remove some" : "remove some, or set expose_node = true: each node takes 24");
  Opts port("pcie-root-port");
  port.set("id", id)
      .set("bus", bus)
      .set("addr", fmt::format("{:02x}.{}", (bus == "pcie.0" ? slots::ports : 0) + number / 8, number % 8));
  if (number % 8 == 0) port.set("multifunction", true);
  port.set("chassis", context.index + 1);
  if (context.qemu.has("pcie-root-port.hotplug")) port.set("hotplug", false);
  context.args.add("-device", port, "a root port of the function's own; nothing is plugged while the guest runs",
                   context.origin("address"));
  return id;
}

void add_steps(const Pci& pci, const Pci::Facts& facts, const PciFunction& function, DeviceContext& context) {
  const std::string origin = context.origin(key_of_choice(pci));
  if (!context.root) {
    context.steps.push_back({OpenVfio{function.address, {}}, "bound already", origin});
    return;
  }
  if (!pci.mdev.empty()) return;  // made by its driver, for vfio
  if (!facts.vfio_loaded)
    context.steps.push_back({LoadModule{"vfio-pci"},
                             "stays loaded: it does nothing by itself, and who else uses it then cannot be known",
                             origin});
  if (facts.physical && facts.removes_vfs) {
    const auto there = static_cast<unsigned>(facts.physical->vfs.size());
    const auto count = there > 0 ? there : static_cast<unsigned>(facts.candidates.size());
    context.steps.push_back({CreateVfs{facts.physical->address, count, *facts.chosen, function.address},
                             "the last VM that uses one removes them", pci.vfs ? context.origin("vfs") : origin});
  }
  if (!pci.mac.empty())
    context.steps.push_back(
        {SetVfMac{facts.interface, *facts.chosen, pci.mac,
                  *facts.chosen < facts.vf_macs.size() && !facts.removes_vfs ? facts.vf_macs[*facts.chosen] : ""},
         "the guest cannot change it", context.origin("mac")});
  add_port_step(pci, facts, context);
  context.steps.push_back({BindVfio{function.address, function.driver, function.driver_override},
                           "by driver_override: no other function of its kind is touched", origin});
}

// How QEMU's user gets at it: the open file where QEMU takes one, else the group's file in a /dev of its own.
Opts open_function(const Pci& pci, bool iommufd, const PciFunction& function, DeviceContext& context) {
  Opts device("vfio-pci");
  device.set("id", fmt::format("pci{}", context.index));
  const std::string origin = context.origin("iommufd");
  if (!iommufd) {
    if (context.root)
      context.steps.push_back(
          {OpenVfio{function.address, {}}, "QEMU takes no fd for it, and its user has no right to it", "qemu"});
    if (std::ranges::find(context.results.device_nodes, "/dev/vfio/vfio") == context.results.device_nodes.end())
      context.results.device_nodes.emplace_back("/dev/vfio/vfio");
    if (!pci.mdev.empty()) return device.set("sysfsdev", "/sys/bus/mdev/devices/" + pci.mdev);
    return device.set("host", function.address);
  }
  if (context.results.used_slots["iommufd"]++ == 0) {
    const int fd = context.fds.take("/dev/iommu");
    context.steps.push_back({OpenFile{"/dev/iommu", true, false, fd}, "QEMU gets the open file, not the path", origin});
    context.args.add("-object", Opts("iommufd").set("id", "iommufd0").set("fd", fd), "one address space for all",
                     origin);
  }
  const int fd = context.fds.take(function.address);
  context.steps.push_back({OpenVfio{function.address, fd}, "QEMU gets the open file, not the path", origin});
  return device.set("iommufd", "iommufd0").set("fd", fd);
}

// A boot ROM from a file: of a card whose own was run by the host at its start, or is not there.
void add_rom(const Pci& pci, Opts& device, DeviceContext& context) {
  if (pci.rom_file.empty()) return;
  const int fd = context.fds.take(context.key + ".rom");
  context.steps.push_back(
      {OpenFile{pci.rom_file, false, true, fd}, "QEMU gets the open file, not the path", context.origin("rom_file")});
  device.set("romfile", fmt::format("/proc/self/fd/{}", fd));
}

}  // namespace

void plan_device(const Pci& pci, const Pci::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  if (facts.physical) check_physical(pci, facts, context);
  if (!facts.rom_misfit.empty())
    context.problem("rom_file", facts.rom_misfit + "; wanted the file of a boot ROM",
                    "check the path and its permissions, or remove rom_file for the card's own");
  if (!facts.chosen) {
    refuse_choice(pci, facts, context);
    return;
  }
  const PciFunction& function = facts.candidates.at(*facts.chosen);
  check_function(pci, facts, function, context);
  const bool iommufd = choose_iommufd(pci, facts, context);
  const auto guest_node = choose_node(pci, function, context);
  context.claim(key_of_choice(pci), (pci.mdev.empty() ? "PCI function " : "mediated device ") + function.address);
  if (context.problems.size() > problems) return;
  if (pci.address.empty() && pci.mdev.empty()) context.note(key_of_choice(pci), "takes " + function.address);
  if (!function.slow_link.empty())
    context.note(key_of_choice(pci),
                 fmt::format("the link of {} is slower than it can be: {}", function.address, function.slow_link));
  add_steps(pci, facts, function, context);
  Opts device = open_function(pci, iommufd, function, context);
  device.set("bus", add_port(guest_node, context));
  if (!pci.rom) device.set("rombar", 0);
  add_rom(pci, device, context);
  if (function.class_id.starts_with("01")) device.set("bootindex", most_of_a_kind + 1 + context.index);
  if (pci.mdev.empty()) context.results.functions.push_back({function.address, interrupt_cpus(function, context)});
  context.args.add("-device", device,
                   guest_node ? fmt::format("the host's {}, on the guest's node {}", function.address, *guest_node)
                              : fmt::format("the host's {}", function.address),
                   context.origin(key_of_choice(pci)));
}

}  // namespace launcher::devices
