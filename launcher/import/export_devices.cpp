// The plan's devices as libvirt's, each at the PCI place that vmrun gives it, so that the guest finds them where they were.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/devices/identity.hpp"
#include "launcher/import/export_parts.hpp"
#include "launcher/import/walk.hpp"

namespace launcher::inline import {

namespace {

struct Writer {
  Domain& to;
  XmlElement& devices;
  std::map<std::string, unsigned> counts = {};  // of each kind
  char scsi = 'a', virtio = 'a';

  std::string key(const char* table) { return fmt::format("{}[{}]", table, counts[table]++); }

  void operator()(const Disk& disk) {
    const unsigned index = counts["disk"];
    const std::string name = key("disk");
    if (disk.interface == Disk::Interface::nvme)
      return to.row(name, Verb::dropped, "libvirt has no emulated NVMe disk");
    constexpr const char* caches[] = {"none", "writeback", "writethrough", "directsync", "unsafe"};
    constexpr const char* ways[] = {"io_uring", "native", "threads"};
    constexpr const char* zeroes[] = {"off", "on", "unmap"};
    const bool block = disk.path.starts_with("/dev/");
    const bool virtio_blk = disk.interface == Disk::Interface::virtio_blk;
    XmlElement& element = devices.add("disk").set("type", block ? "block" : "file").set("device", "disk");
    XmlElement& driver = element.add("driver").set("name", "qemu");
    driver.set("type", disk.format.value_or(disk.path.ends_with(".qcow2") ? "qcow2" : "raw"))
        .set("cache", caches[static_cast<int>(disk.cache)]);
    if (disk.aio) driver.set("io", ways[static_cast<int>(*disk.aio)]);
    driver.set("discard", disk.discard ? "unmap" : "ignore")
        .set("detect_zeroes", zeroes[static_cast<int>(disk.detect_zeroes)]);
    if (virtio_blk && disk.queues) driver.set("queues", std::to_string(*disk.queues));
    if (virtio_blk && disk.queue_size) driver.set("queue_size", std::to_string(*disk.queue_size));
    if (virtio_blk && disk.packed) driver.set("packed", *disk.packed ? "on" : "off");
    if (virtio_blk && disk.has_iothread() && index < to.plan.iothreads.size())
      driver.set("iothread", std::to_string(index + 1));
    element.add("source").set(block ? "dev" : "file", disk.path);
    const std::string target = virtio_blk ? fmt::format("vd{}", virtio++) : fmt::format("sd{}", scsi++);
    element.add("target").set("dev", target).set("bus", virtio_blk ? "virtio" : "scsi");
    limits(element, disk.limit);
    if (disk.logical_block || disk.physical_block) {
      XmlElement& block_size = element.add("blockio");
      if (disk.logical_block) block_size.set("logical_block_size", std::to_string(*disk.logical_block));
      if (disk.physical_block) block_size.set("physical_block_size", std::to_string(*disk.physical_block));
    }
    if (disk.read_only) element.add("readonly");
    if (disk.ephemeral) element.add("transient");
    if (!disk.serial.empty()) element.add("serial", disk.serial);
    element.add("boot").set("order", std::to_string(index + 1));
    if (disk.create) to.row(name + ".create", Verb::dropped, "make the image before: qemu-img create");
    if (disk.iothreads > 1)
      to.row(name + ".iothreads", Verb::dropped, "one I/O thread; later versions of libvirt take several");
    if (virtio_blk) to.place(element, fmt::format("disk{}", index));
  }

  static void limits(XmlElement& disk, const DiskLimit& limit) {
    if (!limit.wanted()) return;
    constexpr const char* names[] = {"total_iops_sec",  "read_iops_sec",  "write_iops_sec",
                                     "total_bytes_sec", "read_bytes_sec", "write_bytes_sec"};
    XmlElement& tune = disk.add("iotune");
    for (std::size_t i = 0; i < limit.rates.size(); ++i) {
      if (limit.rates[i].per_second == 0) continue;
      tune.add(names[i], std::to_string(limit.rates[i].per_second));
      if (limit.rates[i].burst == 0) continue;
      tune.add(std::string(names[i]) + "_max", std::to_string(limit.rates[i].burst));
      tune.add(std::string(names[i]) + "_max_length", std::to_string(limit.burst_seconds));
    }
    if (!limit.group.empty()) tune.add("group_name", limit.group);
  }

  // false: libvirt has no such network
  bool source(const Nic& nic, XmlElement& element, const std::string& name) {
    using enum Nic::Mode;
    if (nic.mode == tap && !nic.bridge.empty()) {
      element.set("type", "bridge").add("source").set("bridge", nic.bridge);
    } else if (nic.mode == tap) {
      element.set("type", "ethernet").add("target").set("dev", nic.tap).set("managed", "no");
    } else if (nic.mode == macvtap) {
      element.set("type", "direct")
          .add("source")
          .set("dev", nic.over)
          .set("mode", nic.macvtap == "passthru" ? "passthrough" : nic.macvtap);
    } else if (nic.mode == vhost_user && !nic.server) {
      element.set("type", "vhostuser").add("source").set("type", "unix").set("path", nic.socket).set("mode", "client");
    } else if (nic.mode == vdpa) {
      element.set("type", "vdpa").add("source").set("dev", nic.device);
    } else {
      element.set("type", "user");
      if (nic.mode == passt || !nic.forward.empty())
        to.row(name + ".mode", Verb::dropped,
               "QEMU's user networking, without passt and forwarded ports (libvirt 9 knows both)");
      if (nic.mode == user && !nic.host_loopback)
        to.row(name + ".host_loopback", Verb::changed,
               "libvirt's user networking leads out, and to what listens on the host's 127.0.0.1");
      if (nic.mode == vhost_user)
        to.row(name + ".server", Verb::dropped, "where QEMU listens is vmrun's own directory");
    }
    return true;
  }

  void operator()(const Nic& nic) {
    const unsigned index = counts["net"];
    const std::string name = key("net");
    XmlElement& element = devices.add("interface");
    source(nic, element, name);
    element.add("mac").set("address", nic.mac.empty() ? mac_in_plan(index) : nic.mac);
    element.add("model").set("type", "virtio");
    XmlElement& driver = element.add("driver");
    if (nic.vhost) driver.set("name", *nic.vhost ? "vhost" : "qemu");
    if (nic.queues && *nic.queues > 1) driver.set("queues", std::to_string(*nic.queues));
    if (nic.rx_queue_size) driver.set("rx_queue_size", std::to_string(*nic.rx_queue_size));
    if (nic.packed) driver.set("packed", *nic.packed ? "on" : "off");
    if (nic.mtu) element.add("mtu").set("size", std::to_string(*nic.mtu));
    if (nic.receive_limit + nic.send_limit > 0) {
      XmlElement& rates = element.add("bandwidth");
      if (nic.receive_limit > 0) rates.add("inbound").set("average", std::to_string(nic.receive_limit / 8000));
      if (nic.send_limit > 0) rates.add("outbound").set("average", std::to_string(nic.send_limit / 8000));
    }
    if (nic.poll_us > 0u) to.row(name + ".poll_us", Verb::dropped, "libvirt has no key for it");
    to.place(element, fmt::format("net{}", index));
  }

  std::string mac_in_plan(unsigned index) const {
    const std::string id = fmt::format(",id=net{},", index);
    for (const Arg& arg : to.plan.args)
      if (const std::size_t at = arg.value.find(",mac=");
          arg.option == "-device" && arg.value.find(id) != arg.value.npos && at != arg.value.npos)
        return arg.value.substr(at + 5, 17);
    return mac_of(to.plan.name, index);
  }

  void operator()(const Share& share) {
    key("share");
    XmlElement& element = devices.add("filesystem").set("type", "mount").set("accessmode", "passthrough");
    element.add("driver").set("type", "virtiofs");
    element.add("source").set("dir", share.path);
    element.add("target").set("dir", share.tag);
    if (share.read_only)
      to.row("share.read_only", Verb::dropped, "libvirt's virtiofs is writable: share a mount that is read-only");
  }

  void operator()(const Console& console) {
    if (console.mode == Console::Mode::none) return;
    XmlElement& serial = devices.add("serial").set("type", "pty");
    if (!console.log.empty()) serial.add("log").set("file", console.log).set("append", "on");
    serial.add("target").set("port", "0");
  }
  void operator()(const Vsock& vsock) {
    XmlElement& cid = devices.add("vsock").set("model", "virtio").add("cid");
    vsock.cid ? cid.set("auto", "no").set("address", std::to_string(*vsock.cid)) : cid.set("auto", "yes");
  }
  void operator()(const Rng& rng) {
    XmlElement& element = devices.add("rng").set("model", "virtio");
    if (rng.per_second) element.add("rate").set("bytes", std::to_string(rng.per_second->count)).set("period", "1000");
    rng.source.empty() ? element.add("backend").set("model", "builtin")
                       : element.add("backend", rng.source).set("model", "random");
  }
  void operator()(const Tpm& tpm) {
    devices.add("tpm")
        .set("model", tpm.model == Tpm::Model::crb ? "tpm-crb" : "tpm-tis")
        .add("backend")
        .set("type", "emulator")
        .set("version", "2.0");
    to.row("tpm", Verb::changed, "libvirt's swtpm starts with an empty memory");
  }
  void operator()(const Watchdog& watchdog) {
    constexpr const char* actions[] = {"reset", "poweroff", "pause", "none"};
    devices.add("watchdog").set("model", "i6300esb").set("action", actions[static_cast<int>(watchdog.action)]);
  }
  void operator()(const Agent& agent) {
    XmlElement& channel = devices.add("channel").set("type", "unix");
    channel.add("target").set("type", "virtio").set("name", agent.name);
  }
  void operator()(const Balloon& balloon) {
    balloon_seen = true;
    devices.add("memballoon")
        .set("model", "virtio")
        .set("autodeflate", balloon.deflate_on_oom ? "on" : "off")
        .set("freePageReporting", balloon.free_page_reporting ? "on" : "off");
  }
  void operator()(const Nvdimm& nvdimm) {
    to.row(key("nvdimm"), Verb::dropped,
           fmt::format("libvirt's NVDIMMs want a <maxMemory> and slots; the file is {}", nvdimm.path));
  }
  void operator()(const Display&) {
    devices.add("graphics")
        .set("type", "vnc")
        .set("autoport", "yes")
        .add("listen")
        .set("type", "address")
        .set("address", "127.0.0.1");
    devices.add("video").add("model").set("type", "vga");
    to.row("display", Verb::changed, "VNC on a port of 127.0.0.1, without a password");
  }
  void operator()(const Smbios& smbios) {
    XmlElement& info = to.root.add("sysinfo").set("type", "smbios");
    XmlElement& system = info.add("system");
    const std::pair<const char*, const std::string*> entries[] = {{"manufacturer", &smbios.manufacturer},
                                                                  {"product", &smbios.product},
                                                                  {"version", &smbios.version},
                                                                  {"serial", &smbios.serial},
                                                                  {"sku", &smbios.sku},
                                                                  {"family", &smbios.family}};
    for (const auto& [name, value] : entries)
      if (!value->empty()) system.add("entry", *value).set("name", name);
    if (!smbios.strings.empty()) {
      XmlElement& strings = info.add("oemStrings");
      for (const std::string& one : smbios.strings) strings.add("entry", one);
    }
    for (XmlElement& child : to.root.children)
      if (child.name == "os") child.add("smbios").set("mode", "sysinfo");
  }
  void operator()(const Credential& credential) {
    to.row("credential: " + credential.name, Verb::dropped,
           "add it as an OEM string (io.systemd.credential:...) or by fw_cfg");
  }
  void operator()(const Cdrom& cdrom) {
    XmlElement& element = devices.add("disk").set("type", "file").set("device", "cdrom");
    element.add("driver").set("name", "qemu").set("type", "raw");
    if (!cdrom.path.empty()) element.add("source").set("file", cdrom.path);
    element.add("target").set("dev", fmt::format("sd{}", scsi++)).set("bus", "sata");
    element.add("readonly");
  }
  template <class Kind>
  void operator()(const Kind&) {  // a kind that nobody has thought of here
    to.row(std::string(Kind::kind.table), Verb::dropped, "it is not exported yet");
  }
  void operator()(const Guest&) {
    to.row("guest", Verb::dropped, "vmrun sets it at each start: run what `vmrun guest-setup` prints in the guest");
  }
  void operator()(const CloudInit&) {
    to.row("cloud_init", Verb::dropped, "vmrun makes the seed at each start: give the domain a seed image of its own");
  }
  void operator()(const Pci& pci) {
    const std::string name = key("pci");
    const unsigned index = counts["pci"] - 1;
    const std::string address = !pci.address.empty()               ? pci.address
                                : index < to.plan.functions.size() ? to.plan.functions[index].address
                                                                   : "";
    if (address.size() != 12) return to.row(name, Verb::dropped, "no address is known");
    XmlElement& element = devices.add("hostdev").set("mode", "subsystem").set("type", "pci").set("managed", "yes");
    element.add("source")
        .add("address")
        .set("domain", "0x" + address.substr(0, 4))
        .set("bus", "0x" + address.substr(5, 2))
        .set("slot", "0x" + address.substr(8, 2))
        .set("function", "0x" + address.substr(11, 1));
    if (!pci.rom_file.empty()) element.add("rom").set("file", pci.rom_file);
    if (!pci.rom) element.add("rom").set("bar", "off");
  }
  void operator()(const Usb& usb) {
    const std::string name = key("usb");
    if (usb.id.size() != 9)
      return to.row(name, Verb::dropped,
                    "libvirt finds a device by vendor and product, or by numbers that change: give its id");
    XmlElement& source =
        devices.add("hostdev").set("mode", "subsystem").set("type", "usb").set("managed", "yes").add("source");
    source.add("vendor").set("id", "0x" + usb.id.substr(0, 4));
    source.add("product").set("id", "0x" + usb.id.substr(5, 4));
  }

  bool balloon_seen = false;
};

}  // namespace

void Domain::devices(XmlElement& devices) {
  devices.add("emulator", plan.qemu);
  Writer writer{*this, devices};
  for (const Device& device : spec.devices) std::visit(writer, device);
  odd_paths(devices);
  if (!writer.balloon_seen) devices.add("memballoon").set("model", "none");
}

}  // namespace launcher::import
