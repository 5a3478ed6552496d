// The kernel's warnings from one moment on (/dev/kmsg; kernel: Documentation/ABI/testing/dev-kmsg).
#pragma once

#include <string>
#include <vector>

namespace launcher::inline watch {

class KernelLog {
 public:
  KernelLog();
  ~KernelLog();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;
  std::vector<std::string>
  warnings();  // what came since: level 4 and graver, 50 at most; nothing where it may not be read

 private:
  int fd_ = -1;
};

}  // namespace launcher::watch
