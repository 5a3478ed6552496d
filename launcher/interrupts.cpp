#include "launcher/interrupts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace launcher {

namespace {

using namespace std::chrono_literals;
constexpr InterruptWatch::Clock::duration first_look = 1s, last_look = 600s;

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

InterruptWatch::InterruptWatch(std::vector<PassedFunction> functions, Host& host, topology::Sysfs sysfs)
    : functions_(std::move(functions)), host_(host), sysfs_(std::move(sysfs)) {
  std::erase_if(functions_, [](const PassedFunction& one) { return one.cpus.empty(); });
}

void InterruptWatch::begin(Clock::time_point now) {
  begun_ = now;
  next_ = first_look;
}

std::optional<InterruptWatch::Clock::time_point> InterruptWatch::due() const {
  if (functions_.empty() || next_ > last_look) return std::nullopt;
  return begun_ + next_;
}

void InterruptWatch::look(Clock::time_point now) {
  if (!due() || now < *due()) return;
  next_ += next_ / 2;
  for (const Interrupt& one : interrupts_of(functions_, sysfs_)) host_.set_interrupt_cpus(one.number, one.wanted);
}

}  // namespace launcher
