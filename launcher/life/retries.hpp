// When to look at what nobody tells of: a few looks, each half as late again as the one before, and then none.
#pragma once

#include <chrono>
#include <optional>

namespace launcher::inline life {

class Looks {
 public:
  using Clock = std::chrono::steady_clock;
  Looks(Clock::duration first, Clock::duration last) : first_(first), last_(last) {}
  void begin(Clock::time_point now) {
    begun_ = now;
    next_ = first_;
  }
  void end() { next_ = Clock::duration::max(); }
  std::optional<Clock::time_point> due() const {  // nullopt: none is to come
    if (next_ > last_) return std::nullopt;
    return begun_ + next_;
  }
  // True when it is time for one; the next is then set.
  bool take(Clock::time_point now) {
    if (!due() || now < *due()) return false;
    next_ += next_ / 2;
    return true;
  }

 private:
  Clock::duration first_, last_, next_ = Clock::duration::max();  // counted from begun_; max: not begun
  Clock::time_point begun_;
};

}  // namespace launcher::life
