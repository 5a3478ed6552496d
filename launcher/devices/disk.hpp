// A disk: an image file or block device, given to the guest as virtio-blk, virtio-scsi or NVMe. Owns PCI slots 0x08-0x0f.
// The rule: disk.cpp reads its keys, disk_facts.cpp looks at its file, disk_check.cpp judges it, disk_nodes.cpp and disk_plan.cpp
// write it for QEMU.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/disk_limit.hpp"
#include "launcher/devices/kind.hpp"
#include "launcher/facts/image.hpp"
#include "launcher/facts/in_use.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline facts {
struct HostConfig;
}  // namespace launcher::facts

namespace launcher::inline devices {

struct DeviceContext;

struct Disk {
  enum class Interface { virtio_blk, virtio_scsi, nvme, sata };
  enum class Cache { none, writeback, writethrough, directsync, unsafe };  // guide 001 "Cache Modes"
  enum class Aio { io_uring, native, threads };                            // guide 001 "IO Mode"
  enum class Zeroes { off, on, unmap };
  struct Create {  // disk.create: what is made where there is no image yet
    topology::Bytes size;
    std::string preallocation;  // "off" | "metadata" | "falloc" | "full", as in qemu-img
    friend bool operator==(const Create&, const Create&) = default;
  };

  std::string path;  // disk.path, required; absolute after read() (relative to the spec's directory)
  Interface interface = Interface::virtio_blk;  // disk.interface
  std::optional<std::string> format;            // disk.format: "auto" (by the file's name) | "raw" | "qcow2"
  Cache cache = Cache::none;                    // disk.cache
  std::optional<Aio> aio;              // disk.aio: "auto" is tried on this very file: io_uring, native, threads
  std::optional<unsigned> queues;      // disk.queues; auto: one per vCPU
  bool hardware_queues = false;        // disk.queues = "hardware": those of the block device below
  std::optional<unsigned> queue_size;  // disk.queue_size; auto: QEMU's own
  std::optional<bool> iothread;        // disk.iothread; auto: where the interface can have one
  unsigned iothreads = 1;              // disk.iothreads: more than one share the virtqueues (iothread-vq-mapping)
  std::string iothread_pool;           // disk.iothread_pool: disks that name it share its I/O threads
  std::map<std::string, std::uint64_t> iothread_properties;  // disk.poll_max_ns and so on, by QEMU's names
  std::optional<bool> packed;                                // disk.packed; auto: on where this QEMU knows it
  bool discard = true;                                       // disk.discard
  Zeroes detect_zeroes = Zeroes::off;                        // disk.detect_zeroes
  bool read_only = false;                                    // disk.read_only
  bool ephemeral = false;                                    // disk.ephemeral: what the guest writes goes with the VM
  std::optional<Create> create;                              // disk.create
  std::optional<unsigned> logical_block, physical_block;     // disk.*_block_size; auto: the block device's own
  std::optional<topology::Bytes> l2_cache;                   // disk.l2_cache: qcow2's; auto: QEMU's own
  std::string serial;  // disk.serial, at most 20 bytes (virtio spec); "": derived from VM name and index
  std::string wwn;     // disk.wwn: 16 hex digits; "": none
  DiskLimit limit;     // disk.limit

  bool writes() const { return !read_only && !ephemeral; }  // to its image
  bool is_emulated() const { return interface == Interface::nvme || interface == Interface::sata; }
  bool has_iothread() const { return iothread.value_or(!is_emulated()) || !iothread_pool.empty(); }
  bool shares_controller() const { return interface == Interface::virtio_scsi && !iothread_pool.empty(); }

  // Found out before the plan, so that planning itself does no I/O.
  struct Facts {
    std::optional<unsigned> node;
    bool looked = false;  // false: of another machine, so all is assumed
    bool exists = false, readable = false, is_block = false;
    std::string misfit = {};  // why it cannot be used; "" where nobody looked
    std::string format;       // what it is served as: as stated, else by its name or kind; "": neither says
    std::string looks;        // what its first bytes are those of ("qcow2", "vmdk"); "": of nothing known, or not asked
    std::string id;           // the same for every name of the file (or of its place); "" where nobody looked
    OtherNames names;         // ids of its partitions, and of what it is a part of
    std::vector<std::string> chain_ids;       // beside `chain`
    std::string used_by_host;                 // "it is mounted on '/mnt'"; "" if the host leaves it alone
    std::string locked_by;                    // the QEMU that has it; "" if none has
    std::vector<Image> chain;                 // backing files, nearest first (qcow2)
    std::string chain_problem;                // why the image or its backing files cannot be used; "" if they can
    std::uint64_t bytes = 0;                  // what the guest sees; 0: not known
    bool direct_io = false;                   // O_DIRECT open and read worked
    bool io_uring = false;                    // an io_uring read (O_DIRECT when direct_io) of this very file worked
    std::string io_uring_why;                 // when it did not
    std::optional<unsigned> hardware_queues;  // of the device that holds it; nullopt: it has none to count
    std::optional<unsigned> logical_block, physical_block;  // of a block device
    std::string directory;                                  // where an image or overlay is made
    std::string directory_why;                              // why it cannot be made there; "" if it can
    std::uint64_t room = 0;                                 // free bytes there
    std::string qemu_img;                                   // the program; "": not found
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "disk", .first_slot = slots::disks};
  static Disk read(TableReader& table);  // problems go to the reader
  friend bool operator==(const Disk&, const Disk&) = default;
};

Disk::Facts look_at(const Disk& disk, const HostConfig& config);
Disk::Facts assumed(const Disk& disk);
DeviceNeeds needs(const Disk& disk, const Disk::Facts& facts, unsigned vcpus);
void plan_device(const Disk& disk, const Disk::Facts& facts, DeviceContext& context);  // arguments and steps

// disk_check.cpp: why this file cannot be this disk.
void check(const Disk& disk, const Disk::Facts& facts, const DeviceContext& context);

// What two disks that share I/O threads, a controller or a limit contradict each other in: {key, what, help}, for `later`.
Problems sharing_problems(const Disk& first, const std::string& first_key, const Disk& later,
                          const std::string& later_key);

constexpr const char* word_of(Disk::Interface interface) {
  constexpr const char* words[] = {"virtio-blk", "virtio-scsi", "nvme", "sata"};
  return words[static_cast<int>(interface)];
}
inline bool is_direct(Disk::Cache cache) { return cache == Disk::Cache::none || cache == Disk::Cache::directsync; }

// The graph of block nodes from the image's file up to what the guest's disk stands on, whose name is returned.
std::string add_nodes(const Disk& disk, const Disk::Facts& facts, DeviceContext& context, Disk::Aio aio);
std::string name_of(Disk::Aio aio);  // QEMU's

}  // namespace launcher::devices
