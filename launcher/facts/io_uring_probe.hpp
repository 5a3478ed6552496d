// Does this file take reads through io_uring here? The rule: the only file with <liburing.h>, and the answer comes from
// trying: build, kernel.io_uring_disabled, seccomp and the file system can each say no.
#pragma once

#include <string>

namespace launcher::inline facts {

struct IoProbe {
  bool direct_io = false;  // O_DIRECT open and an aligned 4 KiB read worked
  bool io_uring = false;   // the same read through io_uring (with O_DIRECT when that works)
  std::string why;         // what failed, with the kernel's word
};

// The file is opened read-only. An empty file counts as readable.
IoProbe probe_io(const std::string& path);

}  // namespace launcher::facts
