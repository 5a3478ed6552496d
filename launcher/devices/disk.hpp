// A disk: an image file or block device, given to the guest as virtio-blk. Owns PCI slots 0x08-0x0f.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/device_context.hpp"
#include "launcher/image.hpp"
#include "launcher/problem.hpp"

namespace launcher {

class TableReader;

struct Disk {
  enum class Cache { none, writeback, writethrough, directsync, unsafe };  // guide 001 "Cache Modes"
  enum class Aio { io_uring, native, threads };                            // guide 001 "IO Mode"

  std::string path;                   // disk.path, required; absolute after read() (relative to the spec's directory)
  std::optional<std::string> format;  // disk.format: "auto" (by the file's magic) | "raw" | "qcow2"
  Cache cache = Cache::none;          // disk.cache
  std::optional<Aio> aio;             // disk.aio: "auto" is tried on this very file: io_uring, native, threads
  std::optional<unsigned> queues;     // disk.queues; auto: one per vCPU
  bool iothread = true;               // disk.iothread
  std::optional<bool> packed;         // disk.packed; auto: on where this QEMU knows it
  bool discard = true;                // disk.discard
  bool read_only = false;             // disk.read_only
  std::string serial;                 // disk.serial, at most 20 bytes (virtio spec); "": derived from VM name and index

  // Found out before the plan, so that planning itself does no I/O.
  struct Facts {
    std::optional<unsigned> node;
    bool exists = false, readable = false, is_block = false;
    std::string format;         // "raw" | "qcow2", by magic
    std::vector<Image> chain;   // backing files, nearest first (qcow2)
    std::string chain_problem;  // why the image or its backing files cannot be used; "" if they can
    bool direct_io = false;     // O_DIRECT open and read worked
    bool io_uring = false;      // an io_uring read (O_DIRECT when direct_io) of this very file worked
    std::string io_uring_why;   // when it did not
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "disk", .first_slot = slots::disks};
  static Disk read(TableReader& table);  // problems go to the reader
  friend bool operator==(const Disk&, const Disk&) = default;
};

Disk::Facts look_at(const Disk& disk);
Disk::Facts assumed(const Disk& disk);
DeviceNeeds needs(const Disk& disk, const Disk::Facts& facts, unsigned vcpus);
void plan_device(const Disk& disk, const Disk::Facts& facts, DeviceContext& context);  // arguments and steps

}  // namespace launcher
