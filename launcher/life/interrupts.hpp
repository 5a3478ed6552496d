// The host's interrupts of functions that a guest has, moved to the VM's CPUs (guide 001, "IRQ Affinity"). The rule: no
// undo, for the kernel frees such an interrupt, and its affinity with it, when the guest or its end lets go of the device.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"
#include "launcher/host/host.hpp"
#include "launcher/life/retries.hpp"
#include "topology/cpu_set.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline life {

struct Interrupt {
  unsigned number = 0;
  std::string name;                 // "vfio-msix[0](0000:81:00.0)"
  topology::CpuSet wanted, actual;  // actual: where the kernel sends it
  friend bool operator==(const Interrupt&, const Interrupt&) = default;
};
std::vector<Interrupt> interrupts_of(const std::vector<PassedFunction>& functions, const topology::Sysfs& sysfs);

// A guest enables a device's interrupts when its driver starts, seconds or minutes after its first instruction, and nobody is
// told: so a few looks in the first ten minutes, each half as late again as the one before, and again after each reset.
class InterruptWatch {
 public:
  using Clock = Looks::Clock;
  InterruptWatch(std::vector<PassedFunction> functions, KernelFiles& kernel, topology::Sysfs sysfs = topology::Sysfs{});
  void begin(Clock::time_point now) {
    if (!functions_.empty()) looks_.begin(now);
  }
  std::optional<Clock::time_point> due() const { return looks_.due(); }
  void look(Clock::time_point now);  // if it is due

 private:
  std::vector<PassedFunction> functions_;
  KernelFiles& kernel_;
  topology::Sysfs sysfs_;
  Looks looks_;
};

}  // namespace launcher::life
