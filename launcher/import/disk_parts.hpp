// A domain's disk on its way to a spec, for disk*.cpp only.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "launcher/import/walk.hpp"

namespace launcher::inline import {

struct DiskWalk {
  Walk& walk;
  const XmlElement& disk;
  std::string handle = {};
  bool virtio = true;  // virtio-blk

  Leaf at(std::string_view way) const { return walk.at(disk, way); }
  std::string key(std::string_view name) const { return fmt::format("{}.{}", handle, name); }
};

void threads_of(DiskWalk& of);  // disk_threads.cpp: I/O threads, and the SCSI controller that has them

}  // namespace launcher::import
