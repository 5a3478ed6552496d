// Disks and drives of a command line: as devices with a source behind them, as -drive alone, as -hda and -cdrom.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/argv.hpp"

namespace launcher::inline import {

namespace {

std::string interface_of(const std::string& kind) {
  if (kind.starts_with("virtio-blk")) return "virtio-blk";
  if (kind == "scsi-hd" || kind == "scsi-disk") return "virtio-scsi";
  if (kind == "nvme" || kind == "nvme-ns") return "nvme";
  if (kind == "ide-hd" || kind == "ide-drive" || kind == "usb-storage") return "sata";
  return "";
}

// The words for an interface that is not the one the guest had.
std::string interface_words(const std::string& kind, const std::string& interface, const std::string& handle) {
  if (kind == "usb-storage") return "a SATA disk in its place: the guest finds it by its contents, not on USB";
  return fmt::format("{}.interface = \"{}\"", handle, interface);
}

// The SCSI controller that the device hangs on: its own words, and its I/O thread.
ArgvOption* controller_of(ArgvWalk& walk, const ArgvOption& device) {
  const std::string bus = device.get("bus");
  if (!bus.empty()) return walk.find("device", "id", bus.substr(0, bus.find('.')));
  for (ArgvOption& one : walk.all)  // QEMU takes the first SCSI bus
    if (one.name == "device" && (one.kind().starts_with("virtio-scsi") || one.kind().starts_with("lsi"))) return &one;
  return nullptr;
}

void threads(ArgvWalk& walk, ArgvOption& owner, const std::string& handle) {
  const std::string thread = owner.get("iothread");
  if (!thread.empty()) {
    std::string name = thread.substr(0, 32);
    for (char& c : name)
      if (std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-").find(c) ==
          std::string_view::npos)
        c = '-';
    name.erase(0, std::min(name.find_first_not_of("-_"), name.size()));
    if (!name.empty()) walk.spec.text(handle, "iothread_pool", name);
    owner.kept("iothread", handle + ".iothread_pool");
    if (ArgvOption* object = walk.by_id("object", thread)) object->tell_rest(Verb::better, "an I/O thread, pinned");
  }
  std::size_t several = 0;
  for (const auto& [key, value] : owner.members)
    if (key.starts_with("iothread-vq-mapping.") && key.ends_with(".iothread")) {
      ++several;
      if (ArgvOption* object = walk.by_id("object", value)) object->tell_rest(Verb::better, "an I/O thread, pinned");
    }
  if (several == 0) return;
  const bool fits = several <= 64 && several <= walk.vcpus;
  if (fits) walk.spec.number(handle, "iothreads", several);
  for (const auto& [key, value] : Members(owner.members))
    if (key.starts_with("iothread-vq-mapping."))
      owner.tell(key, fits ? Verb::kept : Verb::changed, handle + ".iothreads");
}

void rings(ArgvWalk& walk, ArgvOption& owner, const std::string& handle) {
  for (const char* key : {"num-queues", "num_queues"}) {
    const auto many = owner.number(key);
    const bool fits = many && *many >= 1 && *many <= walk.vcpus;
    if (fits) walk.spec.number(handle, "queues", *many);
    owner.tell(key, fits ? Verb::kept : Verb::changed,
               fits ? handle + ".queues" : "queues = \"auto\": one for each vCPU; more would stay idle");
  }
  for (const char* key : {"queue-size", "virtqueue_size"}) {
    const auto ring = owner.number(key);
    const bool power = ring && *ring >= 4 && *ring <= 1024 && (*ring & (*ring - 1)) == 0;
    if (power) walk.spec.number(handle, "queue_size", *ring);
    owner.kept_if(power, key, handle + ".queue_size", "QEMU's own length of the rings");
  }
  walk.spec.flag(handle, "packed", owner.on("packed"));
  owner.kept("packed", handle + ".packed");
}

void scsi_controller(ArgvWalk& walk, ArgvOption& device, const std::string& handle) {
  ArgvOption* controller = controller_of(walk, device);
  if (controller == nullptr) return;
  const bool virtio = controller->kind().starts_with("virtio-scsi");
  controller->tell("driver", virtio ? Verb::kept : Verb::changed,
                   virtio ? "a controller for each disk, or one for those of an iothread_pool"
                          : "virtio-scsi in its place: the guest needs its driver (Linux has it; Windows: virtio-win)");
  if (!virtio) return;
  const bool first = controller->get("id").empty() || walk.spec.find(handle, "packed") == nullptr;
  threads(walk, *controller, handle);
  if (first) rings(walk, *controller, handle);
}

void guest_side(ArgvWalk& walk, ArgvOption& device, const std::string& handle) {
  const std::string serial = device.get("serial");
  const bool plain = !serial.empty() && serial.size() <= 20 &&
                     std::ranges::all_of(serial, [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (plain) walk.spec.text(handle, "serial", serial);
  device.kept_if(plain, "serial", handle + ".serial",
                 "at most 20 printable ASCII characters: the disk has a serial of vmrun's");
  for (const char* key : {"logical_block_size", "physical_block_size"}) {
    const auto size = device.number(key);
    const bool good = size && *size >= 512 && *size <= (key[0] == 'l' ? 4096u : 65536u) && (*size & (*size - 1)) == 0;
    if (good) walk.spec.number(handle, key, *size);
    device.kept_if(good, key, fmt::format("{}.{}", handle, key), "a power of two from 512 on");
  }
  const auto wwn = device.number("wwn");
  const SpecText::Line* interface = walk.spec.find(handle, "interface");
  const bool named = wwn && *wwn != 0 && interface != nullptr && interface->value != "\"nvme\"";
  if (named) walk.spec.text(handle, "wwn", fmt::format("{:016x}", *wwn));
  device.kept_if(named, "wwn", handle + ".wwn", "of SATA and SCSI disks only: the guest finds the disk by serial");
  device.kept("write-cache", handle + ".cache");
  device.kept("drive", handle + ".path");
}

void boots(ArgvWalk& walk, ArgvOption& device, const char* table, const std::string& handle) {
  const auto index = device.number("bootindex");
  if (index) walk.boots.emplace_back(*index, table, handle);
  device.kept_if(index.has_value(), "bootindex", "boot.order, and the order of the disks", "no number");
}

// What may be wrong with a disk; "": nothing.
bool refuse(ArgvSource& source, ArgvOption* device) {
  if (source.refusal.empty() && !source.path.empty()) return false;
  const std::string words = source.refusal.empty() ? "no file is behind it" : source.refusal;
  for (ArgvOption* part : source.parts) part->tell_rest(Verb::refused, words);
  if (device != nullptr) device->tell_rest(Verb::refused, words);
  return true;
}

void path_and_format(ArgvWalk& walk, ArgvSource& source, const std::string& handle) {
  walk.spec.text(handle, "path", source.path);
  if (!is_file_path(source.path))
    walk.missing(handle + ".path", Verb::changed, fmt::format("{} is looked for where the spec is", source.path));
  if (!source.format.empty()) walk.spec.text(handle, "format", source.format);
  const bool told = !source.format.empty() || source.path.ends_with(".qcow2") || source.path.ends_with(".raw") ||
                    source.path.ends_with(".img") || source.path.starts_with("/dev/");
  if (source.format.empty())
    walk.missing(handle + ".format", told ? Verb::changed : Verb::dropped,
                 told ? "by the name's end: QEMU guessed it of the bytes"
                      : "QEMU guessed it of the bytes, which a guest can write: add format to the spec");
  if (source.read_only) walk.spec.flag(handle, "read_only", true);
}

void disk(ArgvWalk& walk, ArgvSource& source, const std::string& kind, ArgvOption* device) {
  if (refuse(source, device)) return;
  const std::string handle = walk.spec.add("disk");
  std::string interface = interface_of(kind);
  path_and_format(walk, source, handle);
  const bool full = interface == "sata" && walk.sata_full();
  if (full) interface = "nvme";
  if (interface == "sata") ++walk.sata_disks;
  if (interface != "virtio-blk") walk.spec.text(handle, "interface", interface);
  const bool write_cache = device == nullptr || !device->has("write-cache") || device->on("write-cache") ||
                           device->is("write-cache", "auto");
  if (device != nullptr) {
    device->tell("driver", full || kind == "usb-storage" ? Verb::changed : Verb::kept,
                 full ? "interface = \"nvme\": the board has six SATA ports, and others have them"
                      : interface_words(kind, interface, handle));
    if (interface == "virtio-blk") rings(walk, *device, handle), threads(walk, *device, handle);
    if (interface == "virtio-scsi") scsi_controller(walk, *device, handle);
    guest_side(walk, *device, handle);
    boots(walk, *device, "disk", handle);
  } else if (interface == "virtio-blk") {
    walk.spec.flag(handle, "packed", false);
  }
  write_host_side(walk, source, handle, write_cache);
}

void cdrom(ArgvWalk& walk, ArgvSource& source, ArgvOption* device) {
  const bool empty = source.path.empty() || source.path == "none";
  if (!empty && refuse(source, device)) return;
  const auto tell = [&](Verb verb, const std::string& words) {
    for (ArgvOption* part : source.parts) part->tell_rest(verb, words);
    if (device != nullptr) device->tell_rest(verb, words);
  };
  if (walk.sata_full()) return tell(Verb::dropped, "the board has six SATA ports, and others have them");
  const std::string handle = walk.spec.add("cdrom");
  if (!empty) walk.spec.text(handle, "path", source.path);
  if (device != nullptr) {
    boots(walk, *device, "cdrom", handle);
    const bool same = device->kind().starts_with("ide");
    device->tell("driver", same ? Verb::kept : Verb::changed,
                 same ? handle : handle + ", on the board's SATA controller");
    device->kept("drive", handle + ".path");
  }
  for (ArgvOption* part : source.parts) part->tell_rest(Verb::kept, handle + (empty ? ": nothing is in it" : ".path"));
}

// -drive if=virtio, or one without a device
void lone_drive(ArgvWalk& walk, ArgvOption& drive) {
  const std::string bus = drive.get("if");
  ArgvSource source = source_of_drive(drive);
  if (bus == "none" || bus == "pflash" ||
      (bus.empty() && walk.find("device", "drive", drive.get("id")) != nullptr && drive.has("id")))
    return;
  if (source.is_cdrom) return cdrom(walk, source, nullptr);
  const bool known = bus.empty() || bus == "ide" || bus == "virtio" || bus == "scsi";
  if (!known) return drive.tell_rest(Verb::dropped, fmt::format("vmrun's board has no '{}' drive", bus));
  disk(walk, source, bus == "virtio" ? "virtio-blk-pci" : bus == "scsi" ? "scsi-hd" : "ide-hd", nullptr);
  if (bus.empty() || bus == "scsi")
    drive.tell("file", Verb::changed,
               bus.empty() ? "a SATA disk, as IDE is on this board" : "virtio-scsi in the place of an LSI controller");
}

void take_disk(ArgvWalk& walk, ArgvOption& option) {
  const std::string& name = option.name;
  if (name == "drive") return lone_drive(walk, option);
  if (name == "hda" || name == "hdb" || name == "hdc" || name == "hdd" || name == "cdrom") {
    ArgvSource source;
    source.parts = {&option};
    source.path = option.value;
    name == "cdrom" ? cdrom(walk, source, nullptr) : disk(walk, source, "ide-hd", nullptr);
    return option.kept("", name == "cdrom" ? "[[cdrom]]" : "[[disk]], a SATA one");
  }
  if (name != "device") return;
  const std::string& kind = option.kind();
  if (kind == "scsi-block" || kind == "scsi-generic")
    return option.tell_rest(Verb::refused,
                            "SCSI commands of the guest would reach the device itself; vmrun gives it as a disk only");
  ArgvSource source = source_of(walk, option.get("drive"));
  if (kind == "ide-cd" || kind == "scsi-cd") return cdrom(walk, source, &option);
  if (kind == "nvme" && !option.has("drive")) return;  // a controller, with namespaces of its own
  if (!interface_of(kind).empty()) disk(walk, source, kind, &option);
}

}  // namespace

void argv_disks(ArgvWalk& walk) {
  for (ArgvOption& option : walk.all) take_disk(walk, option);
  const ArgvOption* snapshot = walk.find("snapshot");
  for (std::size_t i = 0; snapshot != nullptr && i < walk.spec.count("disk"); ++i)
    if (const std::string handle = fmt::format("disk[{}]", i); walk.spec.find(handle, "read_only") == nullptr)
      walk.spec.flag(handle, "ephemeral", true);
  if (ArgvOption* flag = walk.find("snapshot")) flag->kept("", "disk.ephemeral");
}

}  // namespace launcher::import
