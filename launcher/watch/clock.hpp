// How fast a CPU's core really ran while it ran: APERF over MPERF, which count while a core does not sleep, the first at its own clock, the
// second at that of its TSC (Intel SDM volume 3, "Hardware coordination feedback"). The rule: by perf's PMU of such registers where
// the machine has it, else by cpufreq; a core that slept all the time has no clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/watch/perf.hpp"

namespace launcher::inline watch {

struct CpuCounts;

// Registers at one instant.
struct ClockCounts {
  std::uint64_t at_ns = 0, aperf = 0, mperf = 0, tsc = 0;
};
// In MHz; nullopt: the core slept, or nothing was counted.
std::optional<double> mhz_between(const ClockCounts& then, const ClockCounts& now);

class CoreClock {
 public:
  CoreClock(const topology::CpuSet& cpus, const topology::Sysfs& root);
  // "APERF/MPERF", "cpufreq" (what the counts already have) or "" where this machine tells nothing.
  const char* source() const;
  // In the place of what cpufreq says. read: since this was made; each CPU is interrupted for it, so that is for the window's end.
  void add_to(std::map<unsigned, CpuCounts>& counts, bool read) const;

 private:
  struct Registers {
    Fd aperf, mperf, tsc;  // one group, read as one
    ClockCounts first;
  };
  std::map<unsigned, Registers> registers_;
  bool cpufreq_ = false;
};

}  // namespace launcher::watch
