// A disk's keys. The rule: what its own keys rule out together is said here; what needs other tables is in spec_rules, what
// needs the file itself is found out before the plan.
#include "launcher/devices/disk.hpp"

#include <fmt/format.h>

#include <bit>

#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

constexpr std::size_t longest_serial = 20;   // VIRTIO_BLK_ID_BYTES, virtio 1.2 section 5.2.6; NVMe 1.4 figure 251
constexpr unsigned most_disk_queues = 1024;  // VIRTIO_QUEUE_MAX in QEMU
constexpr unsigned least_ring = 4, most_ring = 1024;      // VIRTQUEUE_MAX_SIZE in QEMU
constexpr unsigned least_block = 512, most_block = 4096;  // Linux reads no larger sector before 6.15
constexpr unsigned most_physical = 65536;

// QEMU's name for each key of an I/O thread, and what may be asked for.
struct IothreadKey {
  const char* key;
  const char* property;
  std::int64_t min, max;
};
constexpr IothreadKey iothread_keys[] = {{"poll_max_ns", "poll-max-ns", 0, 1'000'000'000},
                                         {"aio_max_batch", "aio-max-batch", 1, 1024},
                                         {"thread_pool_min", "thread-pool-min", 0, 1024},
                                         {"thread_pool_max", "thread-pool-max", 1, 1024}};

const char* key_of(const std::string& property) {
  for (const IothreadKey& one : iothread_keys)
    if (property == one.property) return one.key;
  return "iothread";
}

void check_aio(TableReader& table, const Disk& disk) {
  if (disk.aio == Disk::Aio::native && !is_direct(disk.cache))
    table.problem(
        "aio",
        "\"native\" works only on files opened with O_DIRECT, and this disk's cache mode goes through the page "
        "cache; wanted cache \"none\" or \"directsync\" with it",
        "set cache = \"none\", or aio = \"io_uring\" (which works with every cache mode)");
}

void check_serial(TableReader& table, const Disk& disk) {
  if (disk.serial.size() > longest_serial)
    table.problem("serial",
                  fmt::format("{} bytes long; wanted at most {}, which is all that {} passes to the guest",
                              disk.serial.size(), longest_serial, word_of(disk.interface)),
                  "shorten it, or leave it out: it is then derived from the VM's name");
  for (unsigned char byte : disk.serial)
    if (byte < 0x20 || byte >= 0x7f) {
      table.problem("serial", fmt::format("contains the byte 0x{:02x}; wanted printable ASCII", byte),
                    "use letters, digits and punctuation only: guests make a device name of it");
      return;
    }
}

// NAA names have a first digit of 1 to 6 (SPC-5, 7.8.6.3); any 64 bits but none are one here, as in QEMU.
void check_wwn(TableReader& table, Disk& disk) {
  if (disk.wwn.empty()) return;
  std::string digits = disk.wwn.starts_with("0x") ? disk.wwn.substr(2) : disk.wwn;
  const bool hex = digits.size() == 16 && digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos &&
                   digits.find_first_not_of('0') != std::string::npos;
  if (!hex)
    table.problem("wwn", fmt::format("\"{}\" is no World Wide Name; wanted 16 hex digits, not all 0", disk.wwn),
                  "for example wwn = \"5000c50015ea71ac\"");
  else if (disk.interface != Disk::Interface::virtio_scsi && disk.interface != Disk::Interface::sata)
    table.problem("wwn",
                  fmt::format("not to be had with interface \"{}\"; wanted it with \"virtio-scsi\" or \"sata\" only",
                              word_of(disk.interface)),
                  "remove wwn (serial names the disk as well), or set interface = \"virtio-scsi\"");
  disk.wwn = hex ? lowered(digits) : "";
}

// An emulated controller is served by QEMU's main loop, and has rings of its own kind, or none.
void check_emulated(TableReader& table, const Disk& disk) {
  if (!disk.is_emulated()) return;
  const auto refuse = [&](bool given, const char* key) {
    if (given)
      table.problem(key,
                    fmt::format("not to be had with interface \"{}\"; wanted it with a virtio interface only",
                                word_of(disk.interface)),
                    fmt::format("remove {}, or set interface = \"virtio-blk\"", key));
  };
  refuse(disk.iothread == true, "iothread");
  refuse(disk.iothreads > 1, "iothreads");
  refuse(!disk.iothread_pool.empty(), "iothread_pool");
  refuse(disk.packed == true, "packed");
  if (disk.interface != Disk::Interface::sata) return;
  refuse(disk.queues.has_value() || disk.hardware_queues, "queues");
  refuse(disk.queue_size.has_value(), "queue_size");
  refuse(disk.logical_block.value_or(least_block) != least_block, "logical_block_size");
}

void check_iothreads(TableReader& table, const Disk& disk) {
  if (disk.iothread == false && !disk.iothread_pool.empty())
    table.problem("iothread", "false, but iothread_pool names I/O threads; wanted one of the two",
                  "remove iothread, or iothread_pool");
  if (disk.iothread == false && disk.iothreads > 1)
    table.problem("iothreads", fmt::format("{} with iothread = false; wanted one of the two", disk.iothreads),
                  "remove iothreads, or iothread = false");
  if (!disk.has_iothread() && !disk.iothread_properties.empty()) {
    const char* key = key_of(disk.iothread_properties.begin()->first);
    table.problem(key, "set for a disk without an I/O thread; wanted one that it can apply to",
                  fmt::format("remove {}, or give the disk an I/O thread", key));
  }
  const auto& properties = disk.iothread_properties;
  constexpr std::uint64_t most_by_default = 64;  // QEMU's thread-pool-max
  const auto min = properties.find("thread-pool-min"), max = properties.find("thread-pool-max");
  const std::uint64_t most = max != properties.end() ? max->second : most_by_default;
  if (min != properties.end() && min->second > most)
    table.problem("thread_pool_min",
                  fmt::format("{} is more than thread_pool_max, {}; wanted at most that", min->second, most),
                  "lower thread_pool_min, or raise thread_pool_max");
}

void check_power_of_two(TableReader& table, const char* key, const std::optional<unsigned>& value) {
  if (!value || std::has_single_bit(*value)) return;
  table.problem(key, fmt::format("{} is no power of two; wanted one", *value),
                fmt::format("set {} = {} or {}", key, std::bit_floor(*value), std::bit_ceil(*value)));
}

void check_blocks(TableReader& table, const Disk& disk) {
  check_power_of_two(table, "queue_size", disk.queue_size);
  check_power_of_two(table, "logical_block_size", disk.logical_block);
  check_power_of_two(table, "physical_block_size", disk.physical_block);
  if (disk.logical_block && disk.physical_block && *disk.physical_block < *disk.logical_block)
    table.problem("physical_block_size",
                  fmt::format("{} is smaller than logical_block_size, {}; wanted at least that", *disk.physical_block,
                              *disk.logical_block),
                  fmt::format("set physical_block_size = {}, or remove it", *disk.logical_block));
}

void check_writing(TableReader& table, const Disk& disk) {
  const auto conflict = [&](bool both, const char* key, const char* other, const char* why) {
    if (both)
      table.problem(key, fmt::format("given together with {}: {}; wanted one of the two", other, why),
                    fmt::format("remove {}, or {}", key, other));
  };
  conflict(disk.ephemeral && disk.read_only, "ephemeral", "read_only", "nothing would ever be written to the overlay");
  conflict(disk.create && disk.read_only, "create", "read_only", "the new image would stay empty");
  conflict(disk.create && disk.ephemeral, "create", "ephemeral", "a new image that is kept, and nothing kept");
  conflict(disk.detect_zeroes != Disk::Zeroes::off && disk.read_only, "detect_zeroes", "read_only",
           "nothing is written");
  if (disk.detect_zeroes == Disk::Zeroes::unmap && !disk.discard)
    table.problem("detect_zeroes", "\"unmap\" with discard = false; wanted discard, which it turns zeroes into",
                  "set detect_zeroes = \"on\", or remove discard = false");
  if (disk.create && disk.create->preallocation == "metadata" && disk.format == "raw")
    table.problem("create.preallocation",
                  "\"metadata\" for a raw image, which has none; wanted \"off\", \"falloc\" or "
                  "\"full\"",
                  "set preallocation = \"falloc\", or format = \"qcow2\"");
  if (disk.create && disk.path.starts_with("/dev/"))
    table.problem("create", "a file below /dev would lie in memory; wanted a path where images are kept",
                  "remove create, or name another path");
}

std::optional<Disk::Create> read_create(TableReader& table) {
  std::optional<Disk::Create> create;
  const bool given = table.has("create");
  table.table("create", [&](TableReader& inner) {
    const std::vector<std::string> words = {"off", "metadata", "falloc", "full"};
    Disk::Create found;
    if (given)
      found.size = inner.required_size("size", topology::mib(1), {std::uint64_t{1} << 56});
    else
      inner.size("size", {}, topology::mib(1), {std::uint64_t{1} << 56});
    found.preallocation = words[inner.choice("preallocation", words, 0)];
    if (found.size.count % least_block != 0)
      inner.problem(
          "size",
          fmt::format("{} is not a multiple of {}; wanted whole sectors", topology::to_string(found.size), least_block),
          "write it in K, M, G or T");
    if (given) create = found;
  });
  return create;
}

void read_queues(TableReader& table, Disk& disk) {
  disk.hardware_queues = table.is_text("queues", "hardware");
  if (!disk.hardware_queues) disk.queues = table.integer_or_auto("queues", 1, most_disk_queues);
  disk.queue_size = table.integer_or_auto("queue_size", least_ring, most_ring);
  disk.iothread = table.flag_or_auto("iothread");
  disk.iothreads = static_cast<unsigned>(table.integer("iothreads", 1, 1, 64));
  disk.iothread_pool = read_shared_name(table, "iothread_pool");
  for (const IothreadKey& one : iothread_keys)
    if (const auto value = table.integer_or_auto(one.key, one.min, one.max))
      disk.iothread_properties[one.property] = static_cast<std::uint64_t>(*value);
  disk.packed = table.flag_or_auto("packed");
}

}  // namespace

Disk Disk::read(TableReader& table) {
  Disk disk;
  disk.path = table.path("path", true);
  disk.interface = static_cast<Interface>(table.choice("interface", {"virtio-blk", "virtio-scsi", "nvme", "sata"}, 0));
  const std::vector<std::string> formats = {"auto", "raw", "qcow2"};
  if (const std::size_t format = table.choice("format", formats, 0); format > 0) disk.format = formats[format];
  disk.cache =
      static_cast<Cache>(table.choice("cache", {"none", "writeback", "writethrough", "directsync", "unsafe"}, 0));
  if (const std::size_t aio = table.choice("aio", {"auto", "io_uring", "native", "threads"}, 0); aio > 0)
    disk.aio = static_cast<Aio>(aio - 1);
  read_queues(table, disk);
  disk.discard = table.flag("discard", true);
  disk.detect_zeroes = static_cast<Zeroes>(table.choice("detect_zeroes", {"off", "on", "unmap"}, 0));
  disk.read_only = table.flag("read_only", false);
  disk.ephemeral = table.flag("ephemeral", false);
  disk.create = read_create(table);
  disk.logical_block = table.integer_or_auto("logical_block_size", least_block, most_block);
  disk.physical_block = table.integer_or_auto("physical_block_size", least_block, most_physical);
  if (!table.is_text("l2_cache", "auto"))
    if (const auto size = table.size("l2_cache", {0}, topology::kib(64), topology::gib(4)); size.count > 0)
      disk.l2_cache = size;
  disk.serial = table.text("serial", "");
  disk.wwn = table.text("wwn", "");
  table.table("limit", [&](TableReader& inner) { disk.limit = DiskLimit::read(inner); });
  for (void (*check)(TableReader&, const Disk&) :
       {check_aio, check_serial, check_emulated, check_iothreads, check_blocks, check_writing})
    check(table, disk);
  check_wwn(table, disk);
  return disk;
}

Problems sharing_problems(const Disk& first, const std::string& first_key, const Disk& later,
                          const std::string& later_key) {
  Problems found;
  const auto differ = [&](bool differs, const std::string& key, const std::string& what) {
    if (differs)
      found.push_back(
          {later_key + "." + key,
           fmt::format("differs from that of {}, whose {} this disk shares; wanted the same", first_key, what),
           fmt::format("set it on {} and remove it here, or let this disk have its own", first_key)});
  };
  if (!later.iothread_pool.empty() && later.iothread_pool == first.iothread_pool) {
    differ(later.iothreads != first.iothreads, "iothreads", "I/O threads");
    for (const auto& [property, value] : later.iothread_properties) {
      const auto said = first.iothread_properties.find(property);
      differ(said == first.iothread_properties.end() || said->second != value, key_of(property), "I/O threads");
    }
    if (first.shares_controller() && later.shares_controller()) {
      differ(later.queues && later.queues != first.queues, "queues", "controller");
      differ(later.hardware_queues && !first.hardware_queues, "queues", "controller");
      differ(later.queue_size && later.queue_size != first.queue_size, "queue_size", "controller");
      differ(later.packed && later.packed != first.packed, "packed", "controller");
    }
  }
  if (!later.limit.group.empty() && later.limit.group == first.limit.group)
    differ(later.limit.has_rates() && later.limit != first.limit, "limit", "limit");
  return found;
}

}  // namespace launcher::devices
