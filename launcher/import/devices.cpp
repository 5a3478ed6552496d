// The devices of which a VM has one or few: console, screen, TPM, agent, and what the host gives away.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/walk.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

void import_filesystem(Walk& walk, const XmlElement& element) {
  const Leaf dir = walk.at(element, "source/@dir"), tag = walk.at(element, "target/@dir"),
             driver = walk.at(element, "driver/@type");
  const bool plain = !tag.value().empty() && tag.value().size() <= 36 &&
                     std::ranges::all_of(tag.value(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!is_file_path(dir.value()) || !plain) {
    walk.tell_all(element, Verb::dropped,
                  "no directory of the host, or no tag that virtiofs can have: the guest lacks this share");
    return;
  }
  const std::string handle = walk.spec.add("share");
  walk.spec.text(handle, "path", dir.value());
  walk.spec.text(handle, "tag", tag.value());
  dir.kept(handle + ".path");
  tag.kept(handle + ".tag");
  driver.tell_default(
      driver.is("virtiofs") ? Verb::kept : Verb::changed,
      driver.is("virtiofs")
          ? handle
          : fmt::format("virtiofs in place of 9p: the guest mounts it by `mount -t virtiofs {}`", tag.value()));
  walk.at(element, "@type").kept(handle);
  walk.at(element, "@accessmode")
      .tell(driver.is("virtiofs") ? Verb::kept : Verb::changed, "virtiofsd acts as the user that the guest's is");
  if (const XmlElement* readonly = element.find("readonly")) {
    walk.spec.flag(handle, "read_only", true);
    walk.tell(*readonly, "", Verb::kept, handle + ".read_only");
  }
  const Leaf cache = walk.at(element, "binary/cache/@mode"), queue = walk.at(element, "driver/@queue");
  if (cache.is("none") || cache.is("always")) walk.spec.text(handle, "cache", cache.is("none") ? "never" : "always");
  cache.kept(handle + ".cache");
  const auto size = queue.number();
  const bool power = size && *size >= 4 && *size <= 1024 && (*size & (*size - 1)) == 0;
  if (power) walk.spec.number(handle, "queue_size", *size);
  queue.kept_if(power, handle + ".queue_size", "a power of two from 4 to 1024: QEMU's own length");
}

namespace {

std::optional<std::string> pci_address(Walk& walk, const XmlElement& address) {
  const auto part = [&](const char* key) { return walk.at(address, key).number(); };
  const auto bus = part("@bus"), slot = part("@slot"), function = part("@function");
  const std::uint64_t domain = part("@domain").value_or(0);
  if (!bus || !slot || *bus > 0xff || *slot > 0x1f || function.value_or(0) > 7 || domain > 0xffff) return std::nullopt;
  return fmt::format("{:04x}:{:02x}:{:02x}.{}", domain, *bus, *slot, function.value_or(0));
}

void import_pci(Walk& walk, const XmlElement& element, const XmlElement& address) {
  const auto place = pci_address(walk, address);
  if (!place) {
    walk.tell_all(element, Verb::dropped, "no PCI address of a function: the guest lacks this device");
    return;
  }
  const std::string handle = walk.spec.add("pci");
  walk.spec.text(handle, "address", *place);
  walk.tell_all(address, Verb::kept, fmt::format("{}.address = \"{}\"", handle, *place));
  const Leaf file = walk.at(element, "rom/@file"), bar = walk.at(element, "rom/@bar"),
             enabled = walk.at(element, "rom/@enabled");
  if (is_file_path(file.value())) walk.spec.text(handle, "rom_file", file.value());
  file.kept_if(is_file_path(file.value()), handle + ".rom_file", "no absolute path: the card's own ROM");
  const bool off = bar.is("off") || enabled.is("no");
  if (off && !file.there()) walk.spec.flag(handle, "rom", false);
  for (const Leaf& leaf : {bar, enabled}) leaf.kept(handle + ".rom");
  const Leaf managed = walk.at(element, "@managed");
  for (const char* way : {"@display", "@ramfb"})
    walk.at(element, way).tell(Verb::dropped, "its picture is not in [display]: the guest's own server shows it");
  managed.tell(managed.is("no") ? Verb::better : Verb::kept,
               "taken from its driver at the start, given back at the end");
  const Leaf driver = walk.at(element, "driver/@name");
  driver.kept_if(driver.is("vfio"), "vfio", "vfio in its place");
  for (const char* way : {"@mode", "@type", "source/address/@type"}) walk.at(element, way).kept(handle);
  walk.at(element, "mac/@address")
      .tell(Verb::dropped, "the function keeps the MAC it has: set vf_of = \"INTERFACE\" and mac in place of address");
  for (const char* way : {"boot/@order", "@bootindex"})
    walk.at(element, way)
        .tell(Verb::changed, "a storage controller is tried after the disks; no other function is booted from");
}

// A vGPU, or another part of a card that its driver made for vfio.
void import_mdev(Walk& walk, const XmlElement& element) {
  const Leaf uuid = walk.at(element, "source/address/@uuid"), model = walk.at(element, "@model");
  if (uuid.value().size() != 36 || (model.there() && !model.is("vfio-pci")))
    return walk.tell_all(element, Verb::dropped, "a mediated device that is no PCI one: the guest lacks it");
  const std::string handle = walk.spec.add("pci");
  walk.spec.text(handle, "mdev", lowered(uuid.value()));
  for (const char* way : {"source/address/@uuid", "@mode", "@type", "@model"})
    walk.at(element, way).kept(handle + ".mdev");
  walk.at(element, "@managed").tell(Verb::kept, "it has to be there: `mdevctl` makes it, at the host's start, too");
  for (const char* way : {"@display", "@ramfb"}) {
    const Leaf leaf = walk.at(element, way);
    leaf.kept_if(leaf.is("off"), "off", "its picture is not in [display]: the guest's own server shows it");
  }
}

void import_usb(Walk& walk, const XmlElement& element) {
  const auto vendor = walk.at(element, "source/vendor/@id").number(),
             product = walk.at(element, "source/product/@id").number();
  if (!vendor || !product || *vendor > 0xffff || *product > 0xffff) {
    walk.tell_all(element, Verb::dropped,
                  "named by bus and device, which change when it is plugged in again: add [[usb]] with id or port");
    return;
  }
  const std::string handle = walk.spec.add("usb");
  walk.spec.text(handle, "id", fmt::format("{:04x}:{:04x}", *vendor, *product));
  for (const char* way : {"source/vendor/@id", "source/product/@id", "@mode", "@type", "@managed"})
    walk.at(element, way).kept(handle + ".id");
  if (const XmlElement* address = element.find("source/address"))
    walk.tell_all(*address, Verb::changed, "found by vendor and product");
  walk.at(element, "source/@startupPolicy").tell(Verb::dropped, "a device that is not there is refused");
}

}  // namespace

void import_hostdev(Walk& walk, const XmlElement& element) {
  const XmlElement* address = element.find("source/address");
  const bool interface = element.name == "interface";
  if (address != nullptr && (interface || walk.at(element, "@type").is("pci")))
    import_pci(walk, element, *address);
  else if (walk.at(element, "@type").is("mdev"))
    import_mdev(walk, element);
  else if (walk.at(element, "@type").is("usb"))
    import_usb(walk, element);
  else
    walk.tell_all(element, Verb::dropped,
                  fmt::format("vmrun passes PCI functions and USB devices on, and no {}: the guest lacks this device",
                              walk.at(element, "@type").value()));
}

void import_input(Walk& walk, const XmlElement& element) {
  const Leaf type = walk.at(element, "@type"), bus = walk.at(element, "@bus");
  const bool screen = walk.root.find("devices/graphics") != nullptr, tablet = type.is("tablet");
  const bool kept = tablet ? screen : bus.is("ps2");
  walk.tell_all(element, kept ? Verb::kept : Verb::changed,
                tablet && screen ? "[display] has a USB tablet"
                : kept           ? "the board has a PS/2 keyboard and mouse"
                : tablet         ? "no tablet: there is no [display]"
                                 : "a PS/2 keyboard and mouse in its place, and with [display] a USB tablet");
}

void import_channel(Walk& walk, const XmlElement& element) {
  const Leaf name = walk.at(element, "target/@name");
  if (name.is("org.qemu.guest_agent.0") && walk.spec.find("agent", "name") == nullptr) {
    walk.spec.text("agent", "name", name.value());
    walk.tell_all(element, Verb::kept, "[agent]: `vmrun agent NAME guest-ping`");
    return;
  }
  walk.tell_all(element, Verb::dropped,
                walk.at(element, "@type").is("spicevmc") ? "SPICE's agent: no clipboard and no resizing of the screen"
                                                         : "vmrun has a channel for the guest agent only");
}

void import_graphics(Walk& walk, const XmlElement& element) {
  const bool again = walk.spec.find("display", "port") != nullptr;
  const Leaf type = walk.at(element, "@type"), password = walk.at(element, "@passwd");
  walk.spec.text("display", "port", "auto", "VNC at /run/vmrun/NAME/display/vnc.sock");
  walk.tell_all(element, again || !type.is("vnc") ? Verb::dropped : Verb::changed,
                again            ? "vmrun's guest has one screen, over VNC"
                : type.is("vnc") ? "[display]: a socket that only you can open; port and password_file open 127.0.0.1"
                                 : fmt::format("[display]: VNC in place of {}: no sound, USB or clipboard through it",
                                               type.value()));
  password.tell(Verb::dropped, "not copied: put it into a file for display.password_file");
}

void import_tpm(Walk& walk, const XmlElement& element) {
  const Leaf backend = walk.at(element, "backend/@type"), version = walk.at(element, "backend/@version"),
             model = walk.at(element, "@model");
  if (!backend.is("emulator") || version.is("1.2")) {
    walk.tell_all(element, Verb::dropped,
                  "vmrun has an emulated TPM 2.0 only; what the guest sealed with this one stays sealed (BitLocker: "
                  "have the recovery key)");
    return;
  }
  if (element.find("backend/encryption") != nullptr) {
    walk.tell_all(element, Verb::refused,
                  "its memory is encrypted with a secret of libvirt's; what the guest sealed would be lost");
    return;
  }
  walk.spec.text("tpm", "model", model.is("tpm-tis") ? "tis" : "crb");
  model.tell_default(model.is("tpm-crb") || model.is("tpm-tis") ? Verb::kept : Verb::changed, "tpm.model");
  version.kept("TPM 2.0");
  const bool adopted = walk.options.adopt_state;
  backend.tell(adopted ? Verb::kept : Verb::dropped,
               adopted ? "[tpm], with the memory it has"
                       : "[tpm], empty: what the guest sealed with it stays sealed (BitLocker asks for its recovery "
                         "key); --adopt-state copies its memory");
  for (const char* way : {"backend/@persistent_state", "backend/profile/@name", "backend/profile/@source",
                          "backend/profile/@removeDisabled"})
    walk.at(element, way).tell(Verb::changed, "kept between runs; swtpm's own choice of profile");
  if (const XmlElement* banks = element.find("backend/active_pcr_banks"))
    walk.tell_all(*banks, Verb::dropped, "swtpm's own choice of banks, unless its memory is copied");
}

void import_watchdog(Walk& walk, const XmlElement& element) {
  const Leaf model = walk.at(element, "@model"), action = walk.at(element, "@action");
  const bool known =
      !action.there() || action.is("reset") || action.is("poweroff") || action.is("pause") || action.is("none");
  const bool shutdown = action.is("shutdown"), itco = model.is("itco");
  // libvirt names the board's own beside another one; the guest feeds that
  const bool other =
      itco && std::ranges::any_of(walk.root.find("devices")->all("watchdog"),
                                  [&](const XmlElement* one) { return !walk.at(*one, "@model").is("itco"); });
  if (other || walk.spec.find("watchdog", "action") != nullptr) {
    walk.tell_all(element, Verb::dropped, "one watchdog only");
    return;
  }
  if (itco) walk.spec.text("watchdog", "model", "itco");
  walk.spec.text("watchdog", "action", shutdown ? "poweroff" : known && action.there() ? action.value() : "reset");
  action.tell_default(known      ? Verb::kept
                      : shutdown ? Verb::changed
                                 : Verb::dropped,
                      known      ? "watchdog.action"
                      : shutdown ? "watchdog.action = \"poweroff\": a guest that hangs does not power itself down"
                                 : "watchdog.action = \"reset\"");
  model.tell(itco || model.is("i6300esb") ? Verb::kept : Verb::changed,
             itco ? "watchdog.model"
             : model.is("i6300esb")
                 ? "[watchdog]"
                 : "an Intel 6300ESB (Linux: i6300esb) in its place, which the guest has to be told to feed");
}

void import_memballoon(Walk& walk, const XmlElement& element) {
  const Leaf model = walk.at(element, "@model"), deflate = walk.at(element, "@autodeflate"),
             report = walk.at(element, "@freePageReporting");
  if (model.is("none")) {
    walk.tell_all(element, Verb::kept, "no [balloon]");
    return;
  }
  walk.spec.flag("balloon", "deflate_on_oom", deflate.on());
  walk.spec.flag("balloon", "free_page_reporting", report.on());
  model.kept("[balloon]");
  deflate.tell_default(Verb::kept, "balloon.deflate_on_oom");
  report.tell_default(Verb::kept, "balloon.free_page_reporting");
  walk.at(element, "stats/@period").tell(Verb::dropped, "no statistics of the guest's memory are collected");
}

void import_rng(Walk& walk, const XmlElement& element) {
  const Leaf backend = walk.at(element, "backend"), model = walk.at(element, "backend/@model");
  const Leaf bytes = walk.at(element, "rate/@bytes"), period = walk.at(element, "rate/@period");
  if (walk.spec.find("rng", "source") != nullptr || !(model.is("random") || model.is("builtin"))) {
    walk.tell_all(element, Verb::dropped, "one source of randomness only, a device or QEMU's own");
    return;
  }
  // libvirt's own default for "random" is /dev/urandom
  const bool file = is_file_path(backend.value());
  walk.spec.text("rng", "source", model.is("builtin") ? "builtin" : file ? backend.value() : "/dev/urandom");
  for (const Leaf& leaf : {backend, model}) leaf.kept("rng.source");
  const auto amount = bytes.number(), milliseconds = period.there() ? period.number() : 1000;
  const bool good = amount && *amount > 0 && *amount <= (1U << 30) && milliseconds && *milliseconds > 0;
  const std::uint64_t rate = good ? *amount * 1000 / *milliseconds : 0;
  const bool fits = rate >= 1 && rate <= (1U << 30);
  if (fits) walk.spec.set("rng", "rate", toml_size(rate));
  for (const Leaf& leaf : {bytes, period}) leaf.kept_if(fits, "rng.rate, in a second", "no limit");
}

void import_vsock(Walk& walk, const XmlElement& element) {
  const Leaf automatic = walk.at(element, "cid/@auto"), address = walk.at(element, "cid/@address");
  const auto cid = address.number();
  const bool given = !automatic.on() && cid && *cid >= 3 && *cid <= 4294967294;
  given ? walk.spec.number("vsock", "cid", *cid) : walk.spec.text("vsock", "cid", "auto");
  automatic.kept("vsock.cid");
  address.tell(given ? Verb::kept : Verb::changed, given ? "vsock.cid" : "vsock.cid = \"auto\": from the VM's name");
}

// libvirt writes <audio type='none'/> where nothing is heard.
void import_audio(Walk& walk, const XmlElement& element) {
  const bool none = walk.at(element, "@type").is("none");
  walk.tell_all(element, none ? Verb::kept : Verb::dropped, "no sound");
}

void import_panic(Walk& walk, const XmlElement& element) {
  const Leaf model = walk.at(element, "@model");
  model.tell_default(model.is("hyperv") ? Verb::dropped : Verb::changed,
                     model.is("hyperv") ? "hyperv.crash = true has this, for a guest that uses it"
                                        : "pvpanic-pci, which the guest's kernel knows from Linux 5.14 on");
}

}  // namespace launcher::import
