// The frequency a CPU reaches under load, without asking anybody: a chain of dependent additions takes one cycle each.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "launcher/checks/audit.hpp"

namespace launcher::inline checks {

namespace {

using Clock = std::chrono::steady_clock;

// Cycles done: each addition waits for the one before it, so neither width nor SMT makes it faster than the clock.
std::uint64_t spin_for(std::chrono::microseconds duration) {
  std::uint64_t cycles = 0, value = 1;
  const std::uint64_t one =
      1;  // in a register: some CPUs do the addition of a small constant while renaming, in no cycle at all
  const auto end = Clock::now() + duration;
  do {
    for (int i = 0; i < 1000; ++i) {
      asm volatile(
          "add %1, %0\n\tadd %1, %0\n\tadd %1, %0\n\tadd %1, %0\n\tadd %1, %0\n\tadd %1, %0\n\tadd %1, %0\n\tadd %1, %0"
          : "+r"(value)
          : "r"(one));
    }
    cycles += 8000;
  } while (Clock::now() < end);
  return cycles;
}

double best_of(unsigned tries) {
  double best = 0;
  for (unsigned i = 0; i < tries; ++i) {
    const auto start = Clock::now();
    const std::uint64_t cycles = spin_for(std::chrono::microseconds(2000));
    const std::chrono::duration<double, std::micro> took = Clock::now() - start;
    best = std::max(best, static_cast<double>(cycles) / took.count());
  }
  return best;
}

}  // namespace

MeasureMhz measure_by_spinning() {
  return [](unsigned cpu) -> std::optional<double> {
    std::optional<double> mhz;
    std::thread([&] {  // a thread of its own: this one keeps its mask
      cpu_set_t one;
      CPU_ZERO(&one);
      if (cpu >= CPU_SETSIZE) return;
      CPU_SET(cpu, &one);
      if (sched_setaffinity(0, sizeof one, &one) != 0) return;
      spin_for(std::chrono::milliseconds(10));  // the governor needs a while to believe it
      mhz = best_of(5);                         // the best: what a task in between took is not the CPU's
    })
        .join();
    return mhz;
  };
}

}  // namespace launcher::checks
