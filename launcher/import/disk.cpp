// A disk: where its bytes are, how the host reads them, how the guest sees it.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/disk_parts.hpp"
#include "launcher/import/walk.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline import {

namespace {

// Not a disk that vmrun can have: why; "": it can.
std::pair<Verb, std::string> misfit(const DiskWalk& of) {
  const Leaf type = of.at("@type"), device = of.at("@device"), format = of.at("driver/@type");
  const bool file = is_file_path(of.at("source/@file").value()), block = is_file_path(of.at("source/@dev").value());
  if (device.is("floppy")) return {Verb::dropped, "vmrun's board has no floppy drive"};
  if (device.is("lun"))
    return {
        Verb::refused,
        "SCSI commands of the guest would reach the device itself; vmrun gives it as a disk only: set device='disk'"};
  if (of.disk.find("shareable") != nullptr && of.disk.find("readonly") == nullptr)
    return {Verb::refused,
            "shared with other VMs, which vmrun never does with a disk that is written: two would destroy it"};
  if (of.disk.find("mirror") != nullptr)
    return {Verb::refused, "a copy of this disk is under way; end it first (virsh blockjob)"};
  if (of.disk.find("source/encryption") != nullptr || of.disk.find("encryption") != nullptr)
    return {Verb::refused, "encrypted by QEMU (LUKS); vmrun opens raw and qcow2 only, so the guest could not read it"};
  if (of.disk.find("source/slices") != nullptr)
    return {Verb::refused, "a part of a file only; as a whole the guest would write over the rest"};
  if ((type.there() && !type.is("file") && !type.is("block")) || (!file && !block))
    return {Verb::refused,
            fmt::format("its bytes are in no local file or block device (type '{}'): the guest would lack this disk",
                        type.value())};
  if (format.there() && !format.is("raw") && !format.is("qcow2"))
    return {Verb::refused, fmt::format("format '{}'; vmrun opens raw and qcow2: qemu-img convert -O qcow2 makes a copy",
                                       format.value())};
  return {Verb::kept, ""};
}

void source_of(DiskWalk& of) {
  const Leaf file = of.at("source/@file"), block = of.at("source/@dev"), format = of.at("driver/@type");
  const Leaf& path = file.there() ? file : block;
  of.walk.spec.text(of.handle, "path", path.value());
  path.kept(of.key("path"));
  of.at("@type").kept(of.key("path"));
  of.walk.spec.text(of.handle, "format", format.there() ? format.value() : "raw");
  format.tell_default(Verb::kept, of.key("format"));
  of.at("driver/@name")
      .kept_if(of.at("driver/@name").is("qemu"), "QEMU", "QEMU in the place of another hypervisor's driver");
}

void bus_of(DiskWalk& of) {
  const Leaf bus = of.at("target/@bus"), target = of.at("target/@dev"), device = of.at("@device");
  const bool sata =
      bus.is("sata") || bus.is("ide") || bus.is("usb") || (!bus.there() && !target.value().starts_with("vd"));
  of.virtio = bus.is("virtio") || (!bus.there() && target.value().starts_with("vd"));
  device.kept(of.handle);
  if (of.virtio) {
    bus.kept(of.key("interface") + " = \"virtio-blk\"");
    target.kept("the order of the disks");
  } else if (bus.is("scsi")) {
    of.walk.spec.text(of.handle, "interface", "virtio-scsi");
    bus.kept(of.key("interface"));
    target.kept("the order of the disks");
  } else if (sata && !of.walk.sata_full()) {
    ++of.walk.sata_disks;
    of.walk.spec.text(of.handle, "interface", "sata");
    bus.tell_default(
        bus.is("sata") ? Verb::kept : Verb::changed,
        of.key("interface") + (bus.is("sata")  ? ""
                               : bus.is("usb") ? " = \"sata\": the guest finds it by its contents, not on USB"
                                               : " = \"sata\", as IDE is on this board: /dev/sdX as before"));
    target.kept("the order of the disks");
  } else {
    of.walk.spec.text(of.handle, "interface", "nvme", "was " + (bus.there() ? bus.value() : "an emulated disk"));
    const std::string words =
        std::string(sata ? "the board has six SATA ports, and others have them: " : "") +
        "interface = \"nvme\", for guests without virtio drivers: /dev/sdX becomes /dev/nvmeXn1. A guest boots from it "
        "where it mounts by UUID or label and has the driver in its initramfs (Windows: stornvme started at boot)";
    bus.tell_default(Verb::changed, words);
    target.tell(Verb::changed, words);
  }
}

void host_side(DiskWalk& of) {
  SpecText& spec = of.walk.spec;
  const Leaf cache = of.at("driver/@cache"), io = of.at("driver/@io"), discard = of.at("driver/@discard"),
             zeroes = of.at("driver/@detect_zeroes");
  const std::string mode = cache.there() && !cache.is("default") ? cache.value() : "writeback";
  spec.text(of.handle, "cache", mode);
  cache.tell_default(Verb::kept,
                     of.key("cache") + (cache.there() && !cache.is("default")
                                            ? ""
                                            : " = \"writeback\", QEMU's default; \"none\" goes past the page cache"));
  const bool direct = mode == "none" || mode == "directsync";
  const bool native_fits = !io.is("native") || direct;
  if (io.there() && native_fits) spec.text(of.handle, "aio", io.value());
  io.tell_default(!io.there() || !native_fits ? Verb::better : Verb::kept,
                  io.there() && native_fits ? of.key("aio") : "aio = \"auto\": io_uring if this very file takes it");
  spec.flag(of.handle, "discard", discard.is("unmap"));
  discard.tell_default(Verb::kept, of.key("discard") + (discard.there() ? "" : " = false, as libvirt has it"));
  if (zeroes.there())
    spec.text(of.handle, "detect_zeroes", zeroes.is("unmap") && !discard.is("unmap") ? "on" : zeroes.value());
  zeroes.tell(zeroes.is("unmap") && !discard.is("unmap") ? Verb::changed : Verb::kept, of.key("detect_zeroes"));
  for (const char* policy : {"driver/@error_policy", "driver/@rerror_policy"}) {
    const Leaf leaf = of.at(policy);
    const bool writes = std::string_view(policy).ends_with("@error_policy"), report = leaf.is("report");
    leaf.tell(leaf.is("enospace") || (report && !writes) ? Verb::kept
              : report                                   ? Verb::changed
                                                         : Verb::dropped,
              report && writes                ? "a full disk of the host pauses the guest; other errors are told to it"
              : leaf.is("enospace") || report ? "as QEMU does by itself"
                                              : "errors are told to the guest, and a full disk of the host pauses it");
  }
  const Leaf cow = of.at("driver/@copy_on_read");
  cow.kept_if(!cow.on(), "off", "backing files are read each time");
  const Leaf l2 = of.at("driver/metadata_cache/max_size"), unit = of.at("driver/metadata_cache/max_size/@unit");
  const auto bytes = l2.there() ? scaled(l2.number().value_or(0), unit.there() ? unit.value() : "bytes") : std::nullopt;
  const bool fits = bytes && *bytes >= 65536 && *bytes <= (std::uint64_t{4} << 30) && of.at("driver/@type").is("qcow2");
  if (fits) spec.set(of.handle, "l2_cache", toml_size(*bytes));
  for (const Leaf& leaf : {l2, unit}) leaf.kept_if(fits, of.key("l2_cache"), "from 64K to 4G, of qcow2, only");
}

void guest_side(DiskWalk& of) {
  SpecText& spec = of.walk.spec;
  const Leaf queues = of.at("driver/@queues"), size = of.at("driver/@queue_size"), packed = of.at("driver/@packed");
  const auto many = queues.number();
  const bool fits = many && *many >= 1 && *many <= of.walk.vcpus && of.virtio;
  if (fits) spec.number(of.handle, "queues", *many);
  queues.tell(fits ? Verb::kept : Verb::changed,
              fits ? of.key("queues") : "queues = \"auto\": one for each vCPU; more would stay idle");
  const auto ring = size.number();
  const bool power = ring && *ring >= 4 && *ring <= 1024 && (*ring & (*ring - 1)) == 0 && of.virtio;
  if (power) spec.number(of.handle, "queue_size", *ring);
  size.kept_if(power, of.key("queue_size"), "QEMU's own length of the rings");
  if (of.virtio) {
    spec.flag(of.handle, "packed", packed.on());
    packed.tell_default(Verb::kept, of.key("packed"));
  } else {
    packed.tell(Verb::dropped, "no virtqueue to be packed");
  }
  if (const XmlElement* readonly = of.disk.find("readonly")) {
    spec.flag(of.handle, "read_only", true);
    of.walk.tell(*readonly, "", Verb::kept, of.key("read_only"));
    if (const XmlElement* shared = of.disk.find("shareable"))
      of.walk.tell(*shared, "", Verb::kept, "only read, so others may read it, too");
  }
  if (const XmlElement* transient = of.disk.find("transient")) {
    const bool written = of.disk.find("readonly") == nullptr;
    if (written) spec.flag(of.handle, "ephemeral", true);
    of.walk.tell_all(*transient, Verb::kept, written ? of.key("ephemeral") : "nothing is ever written to it");
  }
  const Leaf serial = of.at("serial");
  const bool plain = !serial.value().empty() && serial.value().size() <= 20 &&
                     std::ranges::all_of(serial.value(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (plain) spec.text(of.handle, "serial", serial.value());
  if (serial.there())
    serial.kept_if(plain, of.key("serial"),
                   "at most 20 printable ASCII characters: the guest finds the disk by a serial of vmrun's");
  else
    serial.tell_default(
        Verb::changed,
        "one from the VM's name, where QEMU gave none or one of its own: /dev/disk/by-id names the disk otherwise");
  const Leaf wwn = of.at("wwn");
  const SpecText::Line* interface = spec.find(of.handle, "interface");
  const bool named = interface != nullptr && interface->value != "\"nvme\"" && wwn.value().size() == 16;
  if (named) spec.text(of.handle, "wwn", lowered(wwn.value()));
  wwn.kept_if(named, of.key("wwn"), "of SATA and SCSI disks only: the guest finds the disk by serial, not by WWN");
  for (const auto& [way, name] : {std::pair("blockio/@logical_block_size", "logical_block_size"),
                                  {"blockio/@physical_block_size", "physical_block_size"}}) {
    const Leaf leaf = of.at(way);
    const auto block = leaf.number();
    const bool good = block && *block >= 512 && (*block & (*block - 1)) == 0 &&
                      *block <= (std::string_view(name).starts_with('l') ? 4096u : 65536u);
    if (good) spec.number(of.handle, name, *block);
    leaf.kept_if(good, of.key(name), "a power of two from 512 on");
  }
  const bool unsaid = spec.find(of.handle, "logical_block_size") == nullptr;
  if (unsaid && of.at("source/@dev").there()) {
    spec.number(of.handle, "logical_block_size", 512, "as libvirt shows every device");
    of.at("blockio/@logical_block_size")
        .tell_default(Verb::kept, of.key("logical_block_size") + " = 512, as libvirt shows every device");
  }
}

constexpr std::pair<const char*, const char*> limit_keys[] = {
    {"total_bytes_sec", "bytes"}, {"read_bytes_sec", "bytes_read"}, {"write_bytes_sec", "bytes_write"},
    {"total_iops_sec", "iops"},   {"read_iops_sec", "iops_read"},   {"write_iops_sec", "iops_write"}};

void limits_of(DiskWalk& of) {
  const XmlElement* tune = of.disk.find("iotune");
  if (tune == nullptr) return;
  const std::string table = of.handle + ".limit";
  std::uint64_t seconds = 1;
  bool bursts = false;
  for (const auto& [name, key] : limit_keys) {
    const bool bytes = std::string_view(key).starts_with("bytes");
    const std::uint64_t most = bytes ? std::uint64_t{1} << 40 : 1'000'000'000;
    const Leaf rate = of.walk.at(*tune, name), burst = of.walk.at(*tune, std::string(name) + "_max"),
               length = of.walk.at(*tune, std::string(name) + "_max_length");
    const auto put = [&](const std::string& into, std::uint64_t value) {
      bytes ? of.walk.spec.set(table, into, toml_size(value)) : of.walk.spec.number(table, into, value);
    };
    const std::uint64_t each = rate.number().value_or(0), peak = burst.number().value_or(0);
    const bool good = rate.number() && each <= most;
    if (good && each > 0) put(key, each);
    rate.kept_if(good, fmt::format("{}.{}", table, key), "more than vmrun's limits go to: no limit");
    const bool peaks = good && each > 0 && peak > each && peak <= most;
    if (peaks) put(std::string(key) + "_burst", peak), bursts = true;
    burst.kept_if(peaks || peak == 0, fmt::format("{}.{}_burst", table, key),
                  "not above the rate itself, or no rate: no burst");
    if (peaks) seconds = std::max(seconds, std::min<std::uint64_t>(length.number().value_or(1), 3600));
  }
  if (bursts && seconds > 1) of.walk.spec.number(table, "burst_seconds", seconds);
  for (const auto& [name, key] : limit_keys) {
    const Leaf length = of.walk.at(*tune, std::string(name) + "_max_length");
    length.tell(length.number() == seconds ? Verb::kept : Verb::changed,
                fmt::format("{}.burst_seconds = {}, one for all bursts", table, seconds));
  }
  const Leaf group = of.walk.at(*tune, "group_name");
  const bool plain = !group.value().empty() && group.value().size() <= 32 &&
                     group.value().find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
  if (plain) of.walk.spec.text(table, "group", group.value());
  group.kept_if(plain, table + ".group", "letters, digits, '_' and '-' only: this disk has a limit of its own");
  of.walk.at(*tune, "size_iops_sec")
      .kept_if(of.walk.at(*tune, "size_iops_sec").is("0"), "no such size",
               "every request counts as one, however large");
}

}  // namespace

void import_disk(Walk& walk, const XmlElement& disk) {
  if (walk.at(disk, "@device").is("cdrom")) return import_cdrom(walk, disk);
  DiskWalk of{walk, disk};
  if (const auto [verb, words] = misfit(of); !words.empty()) {
    walk.tell_all(disk, verb, words);
    return;
  }
  of.handle = walk.spec.add("disk");
  source_of(of);
  bus_of(of);
  host_side(of);
  guest_side(of);
  threads_of(of);
  limits_of(of);
  const Leaf order = of.at("boot/@order");
  if (const auto number = order.number()) walk.boot_order.emplace_back(*number, of.handle);
  order.kept("boot.order, and the order of the disks");
  const Leaf model = of.at("@model");
  model.kept_if(model.is("virtio") || model.is("virtio-non-transitional"), of.key("interface"),
                "virtio 1.0 devices only: a guest with drivers of before 2016 finds no disk");
}

}  // namespace launcher::import
