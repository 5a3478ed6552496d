#include "launcher/life/interrupts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <sstream>
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

std::vector<Interrupt> interrupts_of(const std::vector<PassedFunction>& functions, const topology::Sysfs& sysfs) {
  std::vector<Interrupt> found;
  if (functions.empty())
    return found;  // the file has a column for each CPU: tens of megabytes where there are thousands
  std::istringstream lines(sysfs.read("/proc/interrupts").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t name =
        line.rfind(" vfio-");  // " 45:  0  7  PCI-MSIX-0000:81:00.0  0-edge  vfio-msix[0](0000:81:00.0)"
    if (name == line.npos) continue;
    const auto function = std::ranges::find_if(
        functions, [&](const PassedFunction& one) { return line.find("(" + one.address + ")", name) != line.npos; });
    unsigned number = 0;
    if (function == functions.end() || !(std::istringstream(line) >> number)) continue;
    found.push_back({number, line.substr(name + 1), function->cpus, actual_cpus(sysfs, number)});
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
