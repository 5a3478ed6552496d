#include "launcher/watch/steal.hpp"

#include <cpuid.h>

#include <cstring>
#include <string>
#include <string_view>

#include "launcher/watch/parse.hpp"
#include "topology/words.hpp"

namespace launcher::inline watch {

namespace {

// Hypervisors show themselves at one of these leaves, several at once where one plays another.
bool is_told_by_hypervisor() {
  constexpr unsigned first = 0x40000000, last = 0x40010000, step = 0x100, kvm_steal_time = 1U << 5;
  for (unsigned leaf = first; leaf < last; leaf += step) {
    unsigned highest = 0, name[3] = {}, features = 0, rest[3] = {};
    __cpuid(leaf, highest, name[0], name[1], name[2]);
    const std::string_view text(reinterpret_cast<const char*>(name), sizeof name);
    if (text.starts_with("XenVMMXenVMM")) return true;
    if (!text.starts_with("KVMKVMKVM")) continue;
    __cpuid(leaf + 1, features, rest[0], rest[1], rest[2]);
    return (features & kvm_steal_time) != 0;
  }
  return false;
}

}  // namespace

bool is_steal_told(const topology::Sysfs& root) {
  const std::string info = root.read_start("/proc/cpuinfo", 8192).value_or("");
  if (!topology::has_word(std::string(text_after(info, "flags\t\t")), "hypervisor")) return true;
  const auto ticks = numbers_in(text_after(root.read_start("/proc/stat", 512).value_or(""), "cpu "));
  if (ticks.size() >= 8 && ticks[7] > 0) return true;
  return !topology::has_word(root.read("/proc/cmdline").value_or(""), "no-steal-acc") && is_told_by_hypervisor();
}

}  // namespace launcher::watch
