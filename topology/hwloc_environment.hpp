// HWLOC_* variables change what hwloc reads (HWLOC_SYNTHETIC, HWLOC_XMLFILE: another machine altogether). The rule: while
// hwloc loads, there are none but ours.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace topology {

class HwlocEnvironment {
 public:
  explicit HwlocEnvironment(const std::string& root = "/");  // another root is HWLOC_FSROOT, the only way to say so
  ~HwlocEnvironment();                                       // as it was before
  HwlocEnvironment(const HwlocEnvironment&) = delete;
  HwlocEnvironment& operator=(const HwlocEnvironment&) = delete;

 private:
  std::vector<std::pair<std::string, std::string>> before_;
};

}  // namespace topology
