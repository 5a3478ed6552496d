// The plan's other devices as libvirt's, each at the PCI place that vmrun gives it where the guest would notice.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

// The child of that name, made where there is none.
XmlElement& child_of(XmlElement& parent, const char* name) {
  for (XmlElement& one : parent.children)
    if (one.name == name) return one;
  return parent.add(name);
}

// <sysinfo>, and the word of <os> that makes it the guest's.
XmlElement& sysinfo(Domain& to) {
  const bool fresh = to.root.find("sysinfo") == nullptr;
  XmlElement& info = child_of(to.root, "sysinfo");
  if (fresh) {
    info.set("type", "smbios");
    child_of(to.root, "os").add("smbios").set("mode", "sysinfo");
  }
  return info;
}

struct Writer : DeviceWriter {
  void operator()(const Disk& disk) { export_disk(*this, disk); }
  void operator()(const Cdrom& cdrom) { export_cdrom(*this, cdrom); }
  void operator()(const Nic& nic) { export_nic(*this, nic); }
  void operator()(const Pci& pci) { export_pci(*this, pci); }
  void operator()(const Usb& usb) { export_usb(*this, usb); }
  void operator()(const Display& display) { export_display(*this, display); }

  void operator()(const Share& share) {
    const std::string name = key("share");
    XmlElement& element = devices.add("filesystem").set("type", "mount").set("accessmode", "passthrough");
    XmlElement& driver = element.add("driver").set("type", "virtiofs");
    if (share.queue_size) driver.set("queue", std::to_string(*share.queue_size));
    if (share.cache == Share::Cache::always || share.cache == Share::Cache::never)
      element.add("binary").add("cache").set("mode", share.cache == Share::Cache::never ? "none" : "always");
    if (share.cache == Share::Cache::metadata)
      to.row(name + ".cache", Verb::dropped, "libvirt knows \"none\" and \"always\"");
    if (!share.special_files)
      to.row(name + ".special_files", Verb::changed,
             "libvirt's virtiofsd runs as root: the guest's root may make device nodes and setuid files");
    element.add("source").set("dir", share.path);
    element.add("target").set("dir", share.tag);
    if (share.read_only)
      to.row(name + ".read_only", Verb::dropped, "libvirt's virtiofs is writable: share a mount that is read-only");
  }

  // COM1 is number 0.
  void serial_port(const std::string& table, const std::string& log, unsigned number) {
    if (!log.empty()) to.row(table + ".log_size", Verb::dropped, "the log is as long as virtlogd's limits let it be");
    XmlElement& serial = devices.add("serial").set("type", "pty");
    if (!log.empty()) serial.add("log").set("file", log).set("append", "on");
    serial.add("target").set("port", std::to_string(number));
  }
  void operator()(const Console& console) {
    if (console.mode == Console::Mode::none) return;
    to.row("console.mode", Verb::kept, "`virsh console` reaches it");
    serial_port("console", console.log, 0);
  }
  void operator()(const Serial& serial) {
    const std::string name = key("serial");
    serial_port(name, serial.log, counts["serial"]);
  }
  void operator()(const Vsock& vsock) {
    XmlElement& cid = devices.add("vsock").set("model", "virtio").add("cid");
    const std::string planned = to.property("vsock0", "guest-cid");
    const std::string number = vsock.cid ? std::to_string(*vsock.cid) : planned;
    number.empty() ? cid.set("auto", "yes") : cid.set("auto", "no").set("address", number);
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
    devices.add("watchdog")
        .set("model", watchdog.model == Watchdog::Model::itco ? "itco" : "i6300esb")
        .set("action", actions[static_cast<int>(watchdog.action)]);
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
    const std::string id = fmt::format("nvdimm{}", counts["nvdimm"]++);
    export_nvdimm(to, devices, nvdimm, id);
  }
  void operator()(const Smbios& smbios) {
    XmlElement& system = child_of(sysinfo(to), "system");
    const std::pair<const char*, const std::string*> entries[] = {{"manufacturer", &smbios.manufacturer},
                                                                  {"product", &smbios.product},
                                                                  {"version", &smbios.version},
                                                                  {"serial", &smbios.serial},
                                                                  {"sku", &smbios.sku},
                                                                  {"family", &smbios.family}};
    for (const auto& [name, value] : entries)
      if (!value->empty()) system.add("entry", *value).set("name", name);
    for (const std::string& one : smbios.strings) child_of(sysinfo(to), "oemStrings").add("entry", one);
  }
  void operator()(const Credential& credential) {
    const std::string name = key("credential");
    if (!credential.file.empty())
      return to.row(name, Verb::dropped, "a file: give it to the guest in another way, it is a secret");
    child_of(sysinfo(to), "oemStrings")
        .add("entry", fmt::format("io.systemd.credential:{}={}", credential.name, credential.value));
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
};

}  // namespace

void Domain::devices(XmlElement& devices) {
  devices.add("emulator", plan.qemu);
  Writer writer{{*this, devices}};
  XmlElement& usb = devices.add("controller").set("type", "usb").set("index", "0");
  usb.set("model", has("xhci") ? "qemu-xhci" : "none");  // else libvirt adds one of its own
  if (has("xhci")) usb.set("ports", "15");
  for (const Device& device : spec.devices) std::visit(writer, device);
  odd_paths(devices);
  if (spec.panic != PanicAction::none) devices.add("panic").set("model", "isa");
  row("panic", Verb::changed,
      spec.panic == PanicAction::none ? "no pvpanic device"
                                      : "an ISA device in place of pvpanic-pci, which libvirt 9 has not");
  if (!writer.balloon_seen) devices.add("memballoon").set("model", "none");
}

}  // namespace launcher::import
