// How a VM is ended: ACPI power-down, wait, quit, SIGTERM, SIGKILL; each rung told. The rule: no I/O and no clock here, so
// that the ladder is tested as a table; whoever climbs it does what step() says and waits until its deadline.
#pragma once

#include <chrono>
#include <optional>

namespace launcher::inline life {

enum class Rung { powerdown, quit, terminate, kill };

class StopLadder {
 public:
  using Clock = std::chrono::steady_clock;
  // timeout: how long the guest may take to power down.
  StopLadder(std::chrono::milliseconds timeout, Clock::time_point now) : timeout_(timeout), due_(now) {}

  // The rung to climb now, if one is due. Each is returned once; after kill nothing is due any more.
  std::optional<Rung> step(Clock::time_point now);
  // Nobody waits for the guest: the next rung is due now.
  void hurry(Clock::time_point now) { due_ = exhausted() ? due_ : now; }
  // When step() should be asked again.
  Clock::time_point due() const { return due_; }
  bool exhausted() const { return next_ > static_cast<int>(Rung::kill); }

 private:
  std::chrono::milliseconds timeout_;
  Clock::time_point due_;
  int next_ = 0;
};

inline const char* describe(Rung rung) {
  switch (rung) {
    case Rung::powerdown:
      return "asked the guest to power down (ACPI)";
    case Rung::quit:
      return "the guest did not power down in time: told QEMU to quit";
    case Rung::terminate:
      return "QEMU did not quit: sent SIGTERM";
    case Rung::kill:
      return "QEMU did not end: sent SIGKILL";
  }
  return "";
}

}  // namespace launcher::life
