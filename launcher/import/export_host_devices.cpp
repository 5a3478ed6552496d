// What the host gives away, and the screen, as libvirt's.
#include <fmt/format.h>

#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

void port_of(DeviceWriter& writer, const Pci& pci, const std::string& name, XmlElement& element) {
  const auto drop = [&](const char* key, const char* words) {
    writer.to.row(fmt::format("{}.{}", name, key), Verb::dropped, words);
  };
  if (pci.port.vlan && *pci.port.vlan > 0) element.add("vlan").add("tag").set("id", std::to_string(*pci.port.vlan));
  if (pci.port.vlan == 0u) drop("vlan", "the function keeps the VLAN that it is in");
  if (pci.port.trust) drop("trust", "libvirt leaves it as it is: `ip link set ... vf N trust on`");
  if (pci.port.spoof_check) drop("spoof_check", "libvirt leaves it as it is: `ip link set ... vf N spoofchk off`");
  if (pci.vfs) drop("vfs", "make the functions before: sriov_numvfs of the physical one");
  if (pci.expose_node) drop("expose_node", "libvirt puts it behind a root port of the board's own bus");
  if (pci.iommufd == true) drop("iommufd", "libvirt 9 opens IOMMU groups");
}

void export_mdev(DeviceWriter& writer, const Pci& pci, const std::string& name) {
  XmlElement& element =
      writer.devices.add("hostdev").set("mode", "subsystem").set("type", "mdev").set("model", "vfio-pci");
  element.add("source").add("address").set("uuid", pci.mdev);
  port_of(writer, pci, name, element);
  if (!pci.rom || !pci.rom_file.empty())
    writer.to.row(name + ".rom", Verb::dropped, "libvirt has no ROM of a mediated device");
}

}  // namespace

void export_pci(DeviceWriter& writer, const Pci& pci) {
  const std::string name = writer.key("pci");
  Domain& to = writer.to;
  if (!pci.mdev.empty()) return export_mdev(writer, pci, name);
  const unsigned index = writer.counts["PCI function"]++;
  const bool chosen = pci.address.empty();
  const std::string address = !chosen                            ? pci.address
                              : index < to.plan.functions.size() ? to.plan.functions[index].address
                                                                 : "";
  if (address.size() != 12) return to.row(name, Verb::dropped, "no address is known");
  const bool card = !pci.mac.empty() || (pci.port.vlan && *pci.port.vlan > 0);
  XmlElement& element = writer.devices.add(card ? "interface" : "hostdev");
  if (!card) element.set("mode", "subsystem");
  element.set("type", card ? "hostdev" : "pci").set("managed", "yes");
  if (!pci.mac.empty()) element.add("mac").set("address", pci.mac);
  XmlElement& source = element.add("source").add("address");
  if (card) source.set("type", "pci");
  source.set("domain", "0x" + address.substr(0, 4))
      .set("bus", "0x" + address.substr(5, 2))
      .set("slot", "0x" + address.substr(8, 2))
      .set("function", "0x" + address.substr(11, 1));
  port_of(writer, pci, name, element);
  if (!pci.rom_file.empty()) element.add("rom").set("file", pci.rom_file);
  if (!pci.rom) element.add("rom").set("bar", "off");
  to.boot_order(element, fmt::format("pci{}", writer.counts["pci"] - 1));
  if (!pci.class_name.empty())
    to.row(name + ".class", Verb::changed, fmt::format("{}, which was the first free one now", address));
  if (pci.node) to.row(name + ".node", Verb::changed, fmt::format("{}, which is on it", address));
  if (!pci.vf_of.empty())
    to.row(name + ".vf_of", Verb::changed, fmt::format("{}, which was the first free one now", address));
}

void export_usb(DeviceWriter& writer, const Usb& usb) {
  const std::string name = writer.key("usb");
  if (usb.id.size() != 9)
    return writer.to.row(
        name, Verb::dropped,
        "libvirt finds a device by vendor and product, or by numbers that change: give its id, not its port");
  XmlElement& source =
      writer.devices.add("hostdev").set("mode", "subsystem").set("type", "usb").set("managed", "yes").add("source");
  source.add("vendor").set("id", "0x" + usb.id.substr(0, 4));
  source.add("product").set("id", "0x" + usb.id.substr(5, 4));
}

void export_display(DeviceWriter& writer, const Display& display) {
  XmlElement& graphics = writer.devices.add("graphics").set("type", "vnc");
  if (display.port) {
    graphics.set("port", std::to_string(*display.port)).set("autoport", "no");
    graphics.add("listen").set("type", "address").set("address", display.address);
    writer.to.row("display.password_file", Verb::dropped,
                  "not copied, and without it everyone who reaches the port is let in: set passwd= by `virsh edit`");
  } else {
    graphics.add("listen").set("type", "socket");
    writer.to.row("display", Verb::changed, "libvirt makes the socket in a directory of its own");
  }
  XmlElement& video = writer.devices.add("video");
  video.add("model").set("type", "vga");
  writer.to.place(video, "display0");
  writer.devices.add("input").set("type", "tablet").set("bus", "usb");
}

}  // namespace launcher::import
