#include "launcher/life/interrupts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <string>
#include <utility>

namespace launcher::inline life {

namespace {

using namespace std::chrono_literals;

topology::CpuSet actual_cpus(const topology::Sysfs& sysfs, unsigned number) {
  for (const char* file : {"effective_affinity_list", "smp_affinity_list"}) {
    const auto text = sysfs.read(fmt::format("/proc/irq/{}/{}", number, file));
    if (!text) continue;
    const auto cpus = topology::CpuSet::parse(*text);
    if (cpus && !cpus->empty()) return *cpus;
  }
  return {};
}

}  // namespace

// Not by /proc/interrupts, which has a column for each CPU: tens of megabytes where there are thousands. (Kernel:
// Documentation/ABI/testing/sysfs-bus-pci, msi_irqs; sysfs-kernel-irq.)
std::vector<Interrupt> interrupts_of(const std::vector<PassedFunction>& functions, const topology::Sysfs& sysfs) {
  std::vector<Interrupt> found;
  for (const PassedFunction& function : functions) {
    const std::string device = "/sys/bus/pci/devices/" + function.address;
    std::vector<std::string> numbers = sysfs.list(device + "/msi_irqs");
    if (numbers.empty()) numbers.push_back(sysfs.read(device + "/irq").value_or(""));  // the one of a line
    for (const std::string& text : numbers) {
      unsigned number = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{}) continue;
      // "vfio-msix[0](0000:81:00.0)"; others that share a line stand beside it
      const std::string actions = sysfs.read(fmt::format("/sys/kernel/irq/{}/actions", number)).value_or("");
      const std::size_t end = actions.find("(" + function.address + ")");
      const std::size_t start = end == actions.npos ? end : actions.rfind("vfio-", end);
      if (start == actions.npos) continue;
      const std::string name = actions.substr(start, end - start + function.address.size() + 2);
      found.push_back({number, name, function.cpus, actual_cpus(sysfs, number)});
    }
  }
  return found;
}

InterruptWatch::InterruptWatch(std::vector<PassedFunction> functions, KernelFiles& kernel, topology::Sysfs sysfs)
    : functions_(std::move(functions)), kernel_(kernel), sysfs_(std::move(sysfs)), looks_(1s, 600s) {
  std::erase_if(functions_, [](const PassedFunction& one) { return one.cpus.empty(); });
}

void InterruptWatch::look(Clock::time_point now) {
  if (!looks_.take(now)) return;
  for (const Interrupt& one : interrupts_of(functions_, sysfs_)) {
    try {
      kernel_.write(fmt::format("/proc/irq/{}/smp_affinity_list", one.number), one.wanted.to_string());
    } catch (const std::exception&) {
      continue;  // gone, or refused: `vmrun show` tells where it is
    }
  }
}

}  // namespace launcher::life
