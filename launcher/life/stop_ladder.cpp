#include "launcher/life/stop_ladder.hpp"

namespace launcher::inline life {

std::optional<Rung> StopLadder::step(Clock::time_point now) {
  if (exhausted() || now < due_) return std::nullopt;
  constexpr std::chrono::seconds between{5};  // what QEMU may take to quit or to end on a signal
  const Rung rung = static_cast<Rung>(next_++);
  due_ = exhausted() ? Clock::time_point::max() : now + (rung == Rung::powerdown ? timeout_ : between);
  return rung;
}

}  // namespace launcher::life
