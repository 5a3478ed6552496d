// A disk: an image file or block device, given to the guest as virtio-blk. Owns PCI slots 0x08-0x0f.
#pragma once

#include <optional>
#include <string>

#include "launcher/device_context.hpp"
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

  static Disk read(TableReader& table);  // problems go to the reader
  friend bool operator==(const Disk&, const Disk&) = default;
};

DeviceNeeds needs(const Disk& disk);
void plan_device(const Disk& disk, DeviceContext& context);  // arguments and steps

}  // namespace launcher
