// What else hangs on the board of a command line: functions and USB devices of the host, TPM, agent, balloon and so on.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/devices/identity.hpp"
#include "launcher/import/argv.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

// "01:00.0", "0000:01:00.0"
std::string pci_address(std::string text) {
  text = lowered(text);
  if (text.size() == 7) text = "0000:" + text;
  constexpr std::string_view shape = "hhhh:hh:hh.h";
  bool good = text.size() == shape.size();
  for (std::size_t i = 0; good && i < shape.size(); ++i)
    good = shape[i] == 'h' ? std::isxdigit(static_cast<unsigned char>(text[i])) != 0 : text[i] == shape[i];
  return good ? text : "";
}

// "/sys/bus/mdev/devices/UUID", or as Proxmox has it "/sys/bus/pci/devices/ADDRESS/UUID"; "": no mediated device.
std::string mdev_of(const std::string& path) {
  const std::string name = lowered(path.substr(path.rfind('/') + 1));
  return is_uuid(name) ? name : "";
}

void pci(ArgvWalk& walk, ArgvOption& device) {
  const std::string path = device.get("sysfsdev"), mdev = mdev_of(path),
                    address = pci_address(device.has("host") ? device.get("host") : path.substr(path.rfind('/') + 1));
  if (address.empty() && mdev.empty())
    return device.tell_rest(Verb::dropped, "no PCI address of a function: the guest lacks this device");
  const std::string handle = walk.spec.add("pci"), key = mdev.empty() ? "address" : "mdev";
  walk.spec.text(handle, key, mdev.empty() ? address : mdev);
  for (const char* part : {"driver", "host", "sysfsdev"}) device.kept(part, handle + "." + key);
  if (is_file_path(device.get("romfile"))) walk.spec.text(handle, "rom_file", device.get("romfile"));
  device.kept_if(is_file_path(device.get("romfile")) || device.get("romfile").empty(), "romfile", handle + ".rom_file",
                 "no absolute path: the card's own ROM");
  const bool off = device.is("rombar", "0") || device.is("rombar", "off") ||
                   (device.has("romfile") && device.get("romfile").empty());
  if (off && walk.spec.find(handle, "rom_file") == nullptr) walk.spec.flag(handle, "rom", false);
  device.kept("rombar", handle + ".rom");
  device.tell("bootindex", Verb::changed,
              "a disk's controller is tried after the disks; another function is not booted from");
}

void usb(ArgvWalk& walk, ArgvOption& device) {
  const auto vendor = device.number("vendorid"), product = device.number("productid");
  const auto bus = device.number("hostbus");
  const std::string port = device.get("hostport");
  std::string handle;
  if (vendor && product && *vendor <= 0xffff && *product <= 0xffff) {
    handle = walk.spec.add("usb");
    walk.spec.text(handle, "id", fmt::format("{:04x}:{:04x}", *vendor, *product));
  } else if (bus && !port.empty() && port.find_first_not_of("0123456789.") == port.npos) {
    handle = walk.spec.add("usb");
    walk.spec.text(handle, "port", fmt::format("{}-{}", *bus, port));
  } else {
    return device.tell_rest(Verb::dropped,
                            "named by numbers that change when it is plugged in again: add [[usb]] with id or port");
  }
  for (const char* key : {"driver", "vendorid", "productid", "hostbus", "hostport", "hostaddr"})
    device.kept(key, handle);
}

void tpm(ArgvWalk& walk, ArgvOption& device) {
  walk.spec.text("tpm", "model", device.kind() == "tpm-tis" ? "tis" : "crb");
  device.tell_rest(Verb::kept, "[tpm]");
  ArgvOption* back = walk.by_id("tpmdev", device.get("tpmdev"));
  if (back == nullptr) return;
  const bool emulated = back->is("type", "emulator");
  const bool adopted = walk.options.adopt_state && !walk.options.tpm_state.empty() && emulated;
  back->tell("type", adopted ? Verb::kept : Verb::dropped,
             adopted    ? "[tpm], with the memory it has"
             : emulated ? "[tpm], empty: what the guest sealed with it stays sealed (BitLocker asks for its recovery "
                          "key); --adopt-state --tpm-state DIRECTORY copies its memory"
                        : "an emulated TPM 2.0 in its place: what the guest sealed with this one stays sealed");
  back->tell_rest(Verb::better, "vmrun starts swtpm itself");
  if (ArgvOption* line = walk.by_id("chardev", back->get("chardev")))
    line->tell_rest(Verb::better, "the line to swtpm, which vmrun starts itself");
}

void agent(ArgvWalk& walk, ArgvOption& port) {
  const bool known = port.is("name", "org.qemu.guest_agent.0") && walk.spec.find("agent", "name") == nullptr;
  ArgvOption* line = walk.by_id("chardev", port.get("chardev"));
  if (known) walk.spec.text("agent", "name", port.get("name"));
  const char* words = known ? "[agent]: `vmrun agent NAME guest-ping`" : "vmrun has a channel for the guest agent only";
  port.tell_rest(known ? Verb::kept : Verb::dropped, words);
  if (line != nullptr) line->tell_rest(known ? Verb::better : Verb::dropped, words);
}

void balloon(ArgvWalk& walk, ArgvOption& device) {
  walk.spec.flag("balloon", "deflate_on_oom", device.on("deflate-on-oom"));
  walk.spec.flag("balloon", "free_page_reporting", device.on("free-page-reporting"));
  for (const char* key : {"driver", "deflate-on-oom", "free-page-reporting"}) device.kept(key, "[balloon]");
}

void rng(ArgvWalk& walk, ArgvOption& device) {
  ArgvOption* source = walk.by_id("object", device.get("rng"));
  const std::string file = source == nullptr ? "" : source->get("filename");
  walk.spec.text("rng", "source", is_file_path(file) ? file : "builtin");
  const auto bytes = device.number("max-bytes"), period = device.number("period");
  const std::uint64_t rate = bytes && period && *period > 0 && *bytes < (1U << 30) ? *bytes * 1000 / *period : 0;
  if (rate > 0 && rate <= (1U << 30)) walk.spec.set("rng", "rate", toml_size(rate));
  for (const char* key : {"max-bytes", "period"}) device.kept_if(rate > 0, key, "rng.rate, in a second", "no limit");
  for (const char* key : {"driver", "rng"}) device.kept(key, "[rng]");
  if (source != nullptr) source->tell_rest(Verb::kept, "rng.source");
}

void vsock(ArgvWalk& walk, ArgvOption& device) {
  const auto cid = device.number("guest-cid");
  const bool good = cid && *cid >= 3 && *cid <= 4294967294;
  good ? walk.spec.number("vsock", "cid", *cid) : walk.spec.text("vsock", "cid", "auto");
  device.kept("driver", "[vsock]");
  device.tell("guest-cid", good ? Verb::kept : Verb::changed, "vsock.cid");
}

void watchdog_action(ArgvWalk& walk) {
  std::string action = "reset";
  for (ArgvOption* option : walk.every("watchdog-action")) {
    action = option->value;
    option->kept("", "watchdog.action");
  }
  for (ArgvOption* option : walk.every("action")) {
    if (option->has("watchdog")) action = option->get("watchdog");
    option->kept("watchdog", "watchdog.action");
  }
  const bool known = action == "reset" || action == "poweroff" || action == "pause" || action == "none";
  walk.spec.text("watchdog", "action", known ? action : "reset");
}

void watchdog(ArgvWalk& walk, ArgvOption& device) {
  watchdog_action(walk);
  device.tell("driver", device.kind() == "i6300esb" ? Verb::kept : Verb::changed,
              device.kind() == "i6300esb" ? "[watchdog]"
                                          : "an Intel 6300ESB in its place, which the guest has to be told to feed");
}

// The chip set's own, which -global turns on; a device beside it is the one that the guest feeds.
void own_watchdog(ArgvWalk& walk) {
  for (ArgvOption* option : walk.every("global")) {
    if (option->value != "ICH9-LPC.noreboot=off" && option->value != "driver=ICH9-LPC,property=noreboot,value=off")
      continue;
    if (walk.spec.find("watchdog", "action") != nullptr) {
      option->tell("", Verb::dropped, "one watchdog only");
      continue;
    }
    walk.spec.text("watchdog", "model", "itco");
    watchdog_action(walk);
    option->kept("", "watchdog.model");
  }
}

void panic(ArgvWalk& walk, ArgvOption& device) {
  walk.spec.text("panic", "action", "pause", "as QEMU does; \"exit\" ends the VM");
  device.tell_rest(device.kind() == "pvpanic-pci" ? Verb::kept : Verb::changed,
                   "pvpanic-pci, which the guest's kernel knows from Linux 5.14 on; panic.action");
}

// virtio-9p-pci with its -fsdev, and -virtfs, which is both
void share(ArgvWalk& walk, ArgvOption& device, ArgvOption& files) {
  const std::string path = files.get("path"), tag = device.get("mount_tag");
  const bool good = is_file_path(path) && !tag.empty() && tag.size() <= 36;
  if (good) {
    const std::string handle = walk.spec.add("share");
    walk.spec.text(handle, "path", path);
    walk.spec.text(handle, "tag", tag);
    if (files.on("readonly")) walk.spec.flag(handle, "read_only", true);
  }
  for (ArgvOption* one : {&device, &files})
    one->tell_rest(good ? Verb::changed : Verb::dropped,
                   good ? fmt::format("virtiofs in place of 9p: the guest mounts it by `mount -t virtiofs {}`", tag)
                        : "no directory of the host, or no tag: the guest lacks this share");
}

void nvdimm(ArgvWalk& walk, ArgvOption& device) {
  ArgvOption* memory = walk.by_id("object", device.get("memdev"));
  if (memory == nullptr || !is_file_path(memory->get("mem-path")))
    return device.tell_rest(Verb::dropped, "no file behind it: the guest lacks this memory");
  const std::string handle = walk.spec.add("nvdimm");
  walk.spec.text(handle, "path", memory->get("mem-path"));
  if (memory->on("pmem")) walk.spec.flag(handle, "pmem", true);
  if (memory->on("readonly") || device.on("unarmed")) walk.spec.flag(handle, "read_only", true);
  memory->tell_rest(Verb::kept, handle);
  device.tell("label-size", Verb::dropped, "no labels: set label_size");
  device.tell_rest(Verb::kept, handle);
}

void take_device(ArgvWalk& walk, ArgvOption& device) {
  const std::string& kind = device.kind();
  constexpr std::pair<const char*, void (*)(ArgvWalk&, ArgvOption&)> kinds[] = {
      {"vfio-pci", pci},         {"usb-host", usb},           {"tpm-tis", tpm},    {"tpm-crb", tpm},
      {"virtserialport", agent}, {"virtio-balloon", balloon}, {"virtio-rng", rng}, {"vhost-vsock", vsock},
      {"i6300esb", watchdog},    {"ib700", watchdog},         {"pvpanic", panic},  {"nvdimm", nvdimm}};
  for (const auto& [name, function] : kinds)
    if (kind.starts_with(name)) return function(walk, device);
  if (kind.starts_with("virtio-9p"))
    if (ArgvOption* files = walk.by_id("fsdev", device.get("fsdev"))) return share(walk, device, *files);
  if (kind == "vmgenid" || kind == "vmcoreinfo") {
    walk.spec.extra("-device");
    walk.spec.extra(device.value);
    return device.tell_rest(Verb::kept, "extra_args: -device " + kind);
  }
  if (kind == "usb-tablet")
    device.tell_rest(walk.spec.find("display", "port") != nullptr ? Verb::kept : Verb::dropped,
                     "[display] has a tablet");
}

}  // namespace

void argv_devices(ArgvWalk& walk) {
  for (ArgvOption& option : walk.all) {
    if (option.name == "device") take_device(walk, option);
    if (option.name == "virtfs") share(walk, option, option);
    if (option.name == "balloon" && option.value == "virtio") balloon(walk, option), option.kept("", "[balloon]");
  }
  own_watchdog(walk);
  if (walk.spec.find("panic", "action") != nullptr) return;
  walk.spec.text("panic", "action", "none", "the guest does as it is set to");
  walk.missing("-device pvpanic", Verb::changed, "the guest has a pvpanic-pci device, and panic.action = \"none\"");
}

}  // namespace launcher::import
