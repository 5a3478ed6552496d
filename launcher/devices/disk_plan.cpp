// What a disk becomes on the command line: its controller, if it needs one, and its device. The rule: what this QEMU or
// this file cannot do is a problem here; what was "auto" and became less is a note.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string_view>
#include <type_traits>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/disk.hpp"

namespace launcher::inline devices {

namespace json = boost::json;

DeviceNeeds needs(const Disk& disk, const Disk::Facts& facts, unsigned) {
  DeviceNeeds needs{.iothreads = {}, .vhost_workers = 0, .node = facts.node, .boots = true};
  for (unsigned i = 0; disk.has_iothread() && i < disk.iothreads; ++i)
    needs.iothreads.push_back({disk.iothread_pool, i, disk.iothread_properties});
  return needs;
}

namespace {

constexpr unsigned most_queues = 1024;  // VIRTIO_QUEUE_MAX in QEMU

Disk::Aio choose_aio(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  const bool known = context.qemu.has("aio.io_uring");
  if (disk.aio == Disk::Aio::io_uring && !(known && facts.io_uring)) {
    context.problem("aio",
                    known ? fmt::format("\"io_uring\" was tried on this very file and failed ({})", facts.io_uring_why)
                          : fmt::format("QEMU {} was built without io_uring", context.qemu.version),
                    "set aio = \"auto\" or \"native\"");
  }
  if (disk.aio) return *disk.aio;
  if (known && facts.io_uring) return Disk::Aio::io_uring;
  const bool native = is_direct(disk.cache) && facts.direct_io && context.qemu.has("aio.native");
  const Disk::Aio chosen = native ? Disk::Aio::native : Disk::Aio::threads;
  context.note("aio", fmt::format("{} instead of io_uring: {}", name_of(chosen),
                                  known ? facts.io_uring_why : "this QEMU was built without it"));
  return chosen;
}

// --- the device --------------------------------------------------------------------------------------------------------

// What holds the virtqueues: the disk's own device, or its SCSI controller. Names of properties differ.
struct Bus {
  const char* driver;
  const char *queues, *ring;
};
const Bus& bus_of(const Disk& disk) {
  static constexpr Bus buses[] = {{"virtio-blk-pci", "num-queues", "queue-size"},
                                  {"virtio-scsi-pci", "num_queues", "virtqueue_size"},
                                  {"nvme", "max_ioqpairs", "mqes"},
                                  {"ide-hd", "", ""}};
  return buses[static_cast<int>(disk.interface)];
}

bool knows(const DeviceContext& context, const Disk& disk, const std::string& property) {
  return context.qemu.has(fmt::format("{}.{}", bus_of(disk).driver, property));
}

bool choose_packed(const Disk& disk, const DeviceContext& context) {
  const bool known = knows(context, disk, "packed");
  if (disk.packed == true && !known)
    context.problem(
        "packed", fmt::format("QEMU {} has no packed virtqueues for {}", context.qemu.version, word_of(disk.interface)),
        "remove packed");
  return disk.packed.value_or(known);
}

unsigned choose_queues(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  const unsigned automatic = std::min(context.vcpus, most_queues);
  if (disk.interface == Disk::Interface::sata) return 1;
  if (!disk.hardware_queues) return disk.queues.value_or(automatic);
  if (!facts.hardware_queues && facts.looked)
    context.problem("queues", "\"hardware\", but what holds this disk has no hardware queues that the kernel shows",
                    "set queues = \"auto\" or a number");
  if (!facts.hardware_queues && !facts.looked)
    context.note("queues", "the hardware of another machine is not known here; planned with one for each vCPU");
  return std::min(facts.hardware_queues.value_or(automatic), automatic);
}

void check_properties(const Disk& disk, unsigned queues, const DeviceContext& context) {
  if (disk.queue_size && !knows(context, disk, bus_of(disk).ring))
    context.problem("queue_size",
                    fmt::format("QEMU {} has a fixed one for {}", context.qemu.version, word_of(disk.interface)),
                    "remove queue_size");
  if (disk.iothreads > 1 && !knows(context, disk, "iothread-vq-mapping"))
    context.problem("iothreads",
                    fmt::format("QEMU {} has no iothread-vq-mapping for {}; wanted 1", context.qemu.version,
                                word_of(disk.interface)),
                    "remove iothreads, or run a newer QEMU (host.toml: qemu)");
  if (disk.iothreads > queues)
    context.problem("iothreads",
                    fmt::format("{} for {} virtqueues; wanted at most one for each", disk.iothreads, queues),
                    fmt::format("set iothreads = {}", queues));
  for (const auto& [property, value] : disk.iothread_properties)
    if (!context.qemu.has("iothread." + property))
      context.problem("iothread", fmt::format("QEMU {} has no {} for I/O threads", context.qemu.version, property),
                      "remove it");
}

// A -device in text, or in JSON where a property is a list.
class Device {
 public:
  explicit Device(const char* driver) { set("driver", driver); }
  template <class T>
  Device& set(const char* key, const T& value) {
    if constexpr (std::is_convertible_v<const T&, std::string_view>)
      properties_[key] = json::string(std::string_view(value));
    else
      properties_[key] = value;
    list_ |= properties_[key].is_array();
    return *this;
  }
  void add(DeviceContext& context, std::string why, std::string origin) const {
    if (list_) return context.args.add("-device", properties_, std::move(why), std::move(origin));
    Opts opts(std::string_view(properties_.at("driver").as_string()));
    for (const json::key_value_pair& pair : properties_) {
      if (pair.key() == "driver") continue;
      if (const auto* flag = pair.value().if_bool())
        opts.set(pair.key(), *flag);
      else if (const auto* text = pair.value().if_string())
        opts.set(pair.key(), std::string_view(*text));
      else
        opts.set(pair.key(), pair.value().to_number<std::uint64_t>());
    }
    context.args.add("-device", opts, std::move(why), std::move(origin));
  }

 private:
  json::object properties_;
  bool list_ = false;
};

void set_address(Device& device, DeviceContext& context) {
  const unsigned place = context.results.disks_on_bus++;
  device.set("addr", pci_address(context.kind.first_slot, place));
  if (context.shares_slot && place < 8) device.set("multifunction", true);
}

void set_iothreads(Device& device, const DeviceContext& context) {
  if (context.iothreads.size() == 1) device.set("iothread", context.iothreads.front());
  if (context.iothreads.size() <= 1) return;
  json::array mapping;
  for (const std::string& id : context.iothreads) mapping.push_back(json::object{{"iothread", id}});
  device.set("iothread-vq-mapping", mapping);
}

// Sizes: as asked, else as the block device has them, where they are not QEMU's own 512. What the VM boots from keeps 512: an image
// made for it has its partition table there, and SeaBIOS reads no other size.
void set_blocks(Device& device, const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  constexpr unsigned usual = 512;
  const bool small = context.index == 0 || disk.interface == Disk::Interface::sata;  // SATA has no others here
  const unsigned own = small ? usual : facts.logical_block.value_or(usual);
  const unsigned logical = disk.logical_block.value_or(own);
  const unsigned physical = std::max(logical, disk.physical_block.value_or(facts.physical_block.value_or(usual)));
  if (logical != usual || disk.logical_block) device.set("logical_block_size", logical);
  if (physical != usual || disk.physical_block) device.set("physical_block_size", physical);
  if (!disk.logical_block && logical != usual)
    context.note("logical_block_size", fmt::format("{}, as the block device has it", logical));
  if (!disk.logical_block && logical < facts.logical_block.value_or(usual))
    context.note(
        "logical_block_size",
        fmt::format("{} for the disk to boot from, though the block device has {}: SeaBIOS boots no other size",
                    logical, *facts.logical_block));
}

// The properties that a disk has whatever it hangs on.
void set_disk(Device& device, const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  const bool write_cache = disk.cache != Disk::Cache::writethrough && disk.cache != Disk::Cache::directsync;
  set_blocks(device, disk, facts, context);
  device.set("write-cache", write_cache ? "on" : "off");
  device.set("serial", disk.serial.empty() ? fmt::format("{:.16}-{}", context.vm, context.index) : disk.serial);
  if (!disk.wwn.empty()) device.set("wwn", "0x" + disk.wwn);
}

struct Rings {
  unsigned queues = 1;
  bool packed = false;
};

void set_rings(Device& device, const Disk& disk, const Rings& rings) {
  device.set(bus_of(disk).queues, rings.queues);
  if (disk.interface == Disk::Interface::nvme) {
    constexpr unsigned usual_vectors = 65;
    if (rings.queues + 1 > usual_vectors) device.set("msix_qsize", rings.queues + 1);
    if (disk.queue_size) device.set("mqes", *disk.queue_size - 1);  // counted from 0
    return;
  }
  if (disk.queue_size) device.set(bus_of(disk).ring, *disk.queue_size);
  device.set("packed", rings.packed);
}

std::string why_of(const Disk& disk, const Rings& rings, const DeviceContext& context) {
  if (disk.interface == Disk::Interface::sata) return "a disk of the board's own SATA controller";
  const std::string noun = disk.interface == Disk::Interface::nvme ? "queue pair" : "virtqueue";
  std::string why = rings.queues == context.vcpus
                        ? fmt::format("one {} per vCPU", noun)
                        : fmt::format("{} {}{}", rings.queues, noun, rings.queues == 1 ? "" : "s");
  if (disk.interface == Disk::Interface::nvme) return why + ", served by QEMU's main loop";
  why += rings.packed ? ", packed ring" : ", split ring";
  if (context.iothreads.size() > 1)
    return why + fmt::format(", shared out among {} I/O threads", context.iothreads.size());
  if (context.iothreads.empty()) return why;
  return why + (disk.iothread_pool.empty() ? ", an iothread of its own" : ", the pool's iothread");
}

// The bus of the disk's SCSI controller, which is made for it unless a disk of the same I/O threads has made one.
std::string scsi_controller(const Disk& disk, const Rings& rings, DeviceContext& context, const std::string& origin) {
  const auto found = context.results.scsi_controllers.find(disk.iothread_pool);
  if (disk.shares_controller() && found != context.results.scsi_controllers.end()) return found->second;
  const std::string id = fmt::format("scsi{}", context.index);
  Device controller("virtio-scsi-pci");
  controller.set("id", id);
  set_address(controller, context);
  set_rings(controller, disk, rings);
  set_iothreads(controller, context);
  controller.add(context, why_of(disk, rings, context), origin);
  if (disk.shares_controller()) context.results.scsi_controllers[disk.iothread_pool] = id;
  return id;
}

// The image, or the place where it is to be made; and what it stands on, to be read.
void claim_files(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context) {
  claim_image(context, disk.path, facts.id, facts.names, facts.exists && !disk.writes(), facts.locked_by);
  for (std::size_t i = 0; i < facts.chain_ids.size(); ++i)
    claim_image(context, facts.chain[i].path, facts.chain_ids[i], {}, true, "");
}

}  // namespace

void plan_device(const Disk& disk, const Disk::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  check(disk, facts, context);
  const Disk::Aio aio = choose_aio(disk, facts, context);
  const Rings rings{.queues = choose_queues(disk, facts, context), .packed = choose_packed(disk, context)};
  check_properties(disk, rings.queues, context);
  if (disk.interface == Disk::Interface::sata && context.results.sata_ports == most_sata_ports)
    context.problem("interface", fmt::format("the board has {} SATA ports, and other disks have them", most_sata_ports),
                    "set interface = \"virtio-blk\" or another");
  if (context.problems.size() > problems) return;
  claim_files(disk, facts, context);
  const std::string node = add_nodes(disk, facts, context, aio);
  const std::string origin = disk.queues || disk.hardware_queues ? context.origin("queues") : "guide 001";
  const bool scsi = disk.interface == Disk::Interface::virtio_scsi;
  Device device(scsi ? "scsi-hd" : bus_of(disk).driver);
  device.set("id", fmt::format("disk{}", context.index)).set("drive", node);
  if (scsi) {
    const std::string controller = scsi_controller(disk, rings, context, origin);
    const unsigned lun = context.results.scsi_disks[controller]++;
    device.set("bus", controller + ".0").set("channel", 0).set("scsi-id", 0).set("lun", lun);
  } else if (disk.interface == Disk::Interface::sata) {
    device.set("bus", fmt::format("ide.{}", context.results.sata_ports++));
  } else {
    set_address(device, context);
    set_rings(device, disk, rings);
  }
  set_disk(device, disk, facts, context);
  if (disk.interface == Disk::Interface::virtio_blk) set_iothreads(device, context);
  if (context.boot_base) device.set("bootindex", *context.boot_base + context.index + 1);
  if (scsi)
    device.add(context, "a disk of that controller", context.origin("interface"));
  else
    device.add(context, why_of(disk, rings, context), origin);
}

}  // namespace launcher::devices
