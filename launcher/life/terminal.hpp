// The terminal end of a console: keys go to the guest one by one, output comes as it is, and the terminal is put back.
#pragma once

#include <termios.h>

#include <chrono>
#include <string>

namespace launcher::inline life {

// While it lives, fd 0 (if it is a terminal) is without echo and line editing. signals: Ctrl-C still makes SIGINT.
class RawTerminal {
 public:
  explicit RawTerminal(bool signals);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  bool active() const { return active_; }

 private:
  termios before_{};
  bool active_ = false;
};

// Bytes on their way from one fd to another, so that a slow reader never blocks whoever relays.
class Relay {
 public:
  Relay(int from, int to) : from_(from), to_(to) {}
  bool wants_read() const { return !ended_ && pending_.size() < limit; }
  bool wants_write() const { return !pending_.empty(); }
  void read_some();
  void write_some();
  bool ended() const { return ended_; }  // from is at its end, or to is broken
  // Writes all that is pending. False: nobody took any for `patience`, or `stop` became readable.
  bool flush(int stop, std::chrono::milliseconds patience);
  bool drained() const { return pending_.empty(); }
  int from() const { return from_; }
  int to() const { return to_; }
  std::string& last() { return last_; }  // what the last read_some() brought, for an escape key
  void drop_pending() { pending_.clear(); }

 private:
  static constexpr std::size_t limit = 64 * 1024;
  int from_, to_;
  std::string pending_, last_;
  bool ended_ = false;
};

bool colour_wanted(int fd);  // a terminal, no NO_COLOR, TERM not dumb

}  // namespace launcher::life
