// The kernel's warnings from one moment on (/dev/kmsg; kernel: Documentation/ABI/testing/dev-kmsg).
#pragma once

#include <string>
#include <vector>

#include "launcher/host/fd.hpp"

namespace launcher::inline watch {

class KernelLog {
 public:
  KernelLog();
  std::vector<std::string>
  warnings();  // what came since: level 4 and graver, 50 at most; nothing where it may not be read

 private:
  Fd fd_;
};

}  // namespace launcher::watch
