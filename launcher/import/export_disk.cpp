// The plan's disks and drives as libvirt's, each on the bus and at the place where the guest had it.
#include <fmt/format.h>

#include "launcher/import/export_parts.hpp"
#include "launcher/import/walk.hpp"

namespace launcher::inline import {

namespace {

struct DiskWriter {
  DeviceWriter& writer;
  const Disk& disk;
  std::string id, name;  // "disk0", "disk[0]"
  bool virtio_blk = disk.interface == Disk::Interface::virtio_blk;

  Domain& to() const { return writer.to; }
  void drop(const char* key, const std::string& words) const {
    to().row(fmt::format("{}.{}", name, key), Verb::dropped, words);
  }
  void set(XmlElement& element, const char* attribute, const std::string& value) const {
    if (!value.empty()) element.set(attribute, value);
  }
};

void driver_of(const DiskWriter& of, XmlElement& driver) {
  constexpr const char* caches[] = {"none", "writeback", "writethrough", "directsync", "unsafe"};
  constexpr const char* ways[] = {"io_uring", "native", "threads"};
  constexpr const char* zeroes[] = {"off", "on", "unmap"};
  const Disk& disk = of.disk;
  driver.set("name", "qemu")
      .set("type", disk.format.value_or(disk.path.ends_with(".qcow2") ? "qcow2" : "raw"))
      .set("cache", caches[static_cast<int>(disk.cache)]);
  if (disk.aio) driver.set("io", ways[static_cast<int>(*disk.aio)]);
  driver.set("discard", disk.discard ? "unmap" : "ignore")
      .set("detect_zeroes", zeroes[static_cast<int>(disk.detect_zeroes)]);
  if (disk.l2_cache)
    driver.add("metadata_cache").add("max_size", std::to_string(disk.l2_cache->count)).set("unit", "bytes");
  if (!of.virtio_blk) return;
  of.set(driver, "queues", of.to().property(of.id, "num-queues"));
  of.set(driver, "queue_size", of.to().property(of.id, "queue-size"));
  of.set(driver, "packed", of.to().property(of.id, "packed"));
  if (const auto number = of.to().iothread(of.id)) driver.set("iothread", std::to_string(*number));
}

// The controller of a virtio-scsi disk, written before its first disk.
void scsi_place(const DiskWriter& of, XmlElement& element) {
  const std::string bus = of.to().property(of.id, "bus"), id = bus.substr(0, bus.find('.'));
  const auto number = static_cast<unsigned>(of.writer.scsi_controllers.size());
  const auto [found, fresh] = of.writer.scsi_controllers.emplace(id, number);
  if (fresh) {
    XmlElement& controller = of.writer.devices.add("controller");
    controller.set("type", "scsi").set("index", std::to_string(number)).set("model", "virtio-scsi");
    XmlElement& driver = controller.add("driver");
    of.set(driver, "queues", of.to().property(id, "num_queues"));
    if (const auto thread = of.to().iothread(id)) driver.set("iothread", std::to_string(*thread));
    of.set(driver, "packed", of.to().property(id, "packed"));
    of.to().place(controller, id);
    if (of.disk.queue_size) of.drop("queue_size", "libvirt has no key for a SCSI controller's rings");
  }
  element.add("address")
      .set("type", "drive")
      .set("controller", std::to_string(found->second))
      .set("bus", "0")
      .set("target", "0")
      .set("unit", of.to().property(of.id, "lun"));
}

// The board's own SATA controller: "ide.3" is its fourth port.
void sata_place(const Domain& to, XmlElement& element, const std::string& id) {
  const std::string bus = to.property(id, "bus");
  if (!bus.starts_with("ide.")) return;
  element.add("address")
      .set("type", "drive")
      .set("controller", "0")
      .set("bus", "0")
      .set("target", "0")
      .set("unit", bus.substr(4));
}

void limits(XmlElement& disk, const DiskLimit& limit) {
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

void unsaid(const DiskWriter& of) {
  const Disk& disk = of.disk;
  if (disk.create) of.drop("create", "make the image before: qemu-img create");
  if (disk.iothreads > 1) of.drop("iothreads", "one I/O thread; libvirt 10.0 and later take several");
  for (const auto& [property, key] :
       {std::pair("poll-max-ns", "poll_max_ns"), std::pair("aio-max-batch", "aio_max_batch")})
    if (disk.iothread_properties.contains(property)) of.drop(key, "QEMU's own: libvirt 9 has no key for it");
  if (disk.ephemeral)
    of.to().row(of.name + ".ephemeral", Verb::changed, "libvirt's overlay is a file beside the image, while it runs");
}

}  // namespace

void export_disk(DeviceWriter& writer, const Disk& disk) {
  const std::string id = fmt::format("disk{}", writer.counts["disk"]);
  const DiskWriter of{writer, disk, id, writer.key("disk")};
  if (disk.interface == Disk::Interface::nvme)
    return writer.to.row(of.name, Verb::dropped, "libvirt has no emulated NVMe disk");
  const bool block = disk.path.starts_with("/dev/"), sata = disk.interface == Disk::Interface::sata;
  XmlElement element;
  element.name = "disk";
  element.set("type", block ? "block" : "file").set("device", "disk");
  driver_of(of, element.add("driver"));
  element.add("source").set(block ? "dev" : "file", disk.path);
  element.add("target")
      .set("dev", of.virtio_blk ? disk_name("vd", writer.virtio_names++) : disk_name("sd", writer.scsi_names++))
      .set("bus", of.virtio_blk ? "virtio"
                  : sata        ? "sata"
                                : "scsi");
  limits(element, disk.limit);
  const std::string logical = writer.to.property(id, "logical_block_size"),
                    physical = writer.to.property(id, "physical_block_size");
  if (!(logical + physical).empty()) {
    XmlElement& sizes = element.add("blockio");
    of.set(sizes, "logical_block_size", logical);
    of.set(sizes, "physical_block_size", physical);
  }
  if (disk.read_only) element.add("readonly");
  if (disk.ephemeral) element.add("transient");
  element.add("serial", writer.to.property(id, "serial"));
  if (!disk.wwn.empty() && !sata) element.add("wwn", disk.wwn);
  if (!disk.wwn.empty() && sata) of.drop("wwn", "libvirt takes one of IDE and SCSI disks only");
  writer.to.boot_order(element, id);
  if (of.virtio_blk)
    writer.to.place(element, id);
  else
    sata ? sata_place(writer.to, element, id) : scsi_place(of, element);
  unsaid(of);
  writer.devices.children.push_back(std::move(element));
}

void export_cdrom(DeviceWriter& writer, const Cdrom& cdrom) {
  const std::string id = fmt::format("cdrom{}", writer.counts["cdrom"]);
  writer.key("cdrom");
  const bool block = cdrom.path.starts_with("/dev/");
  XmlElement& element = writer.devices.add("disk").set("type", block ? "block" : "file").set("device", "cdrom");
  element.add("driver").set("name", "qemu").set("type", "raw");
  if (!cdrom.path.empty()) element.add("source").set(block ? "dev" : "file", cdrom.path);
  element.add("target").set("dev", disk_name("sd", writer.scsi_names++)).set("bus", "sata");
  element.add("readonly");
  writer.to.boot_order(element, id);
  sata_place(writer.to, element, id);
}

}  // namespace launcher::import
