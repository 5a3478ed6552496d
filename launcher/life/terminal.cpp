#include "launcher/life/terminal.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "launcher/text/bounded_write.hpp"

namespace launcher::inline life {

RawTerminal::RawTerminal(bool signals) {
  if (isatty(STDIN_FILENO) == 0 || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &before_) < 0)
    return;
  termios raw = before_;
  raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  if (!signals) raw.c_lflag &= ~static_cast<tcflag_t>(ISIG);
  // Ctrl-C alone is vmrun's; Ctrl-\ and Ctrl-Z are keys of the guest's: a keeper must neither dump core nor stop
  raw.c_cc[VQUIT] = _POSIX_VDISABLE;
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

RawTerminal::~RawTerminal() {
  if (active_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

void Relay::read_some() {
  std::array<char, 8192> chunk{};
  last_.clear();
  const ssize_t got = read(from_, chunk.data(), chunk.size());
  if (got > 0) {
    last_.assign(chunk.data(), static_cast<std::size_t>(got));
    pending_ += last_;
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    ended_ = true;
  }
}

void Relay::write_some() {
  constexpr std::size_t chunk = 4096;
  errno = 0;
  const std::size_t sent = write_within(to_, std::string_view(pending_).substr(0, chunk), std::chrono::milliseconds(0));
  if (sent > 0) {
    pending_.erase(0, sent);
  } else if (errno != EAGAIN && errno != EINTR) {
    ended_ = true;  // nobody reads any more
    pending_.clear();
  }
}

bool Relay::flush(int stop, std::chrono::milliseconds patience) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point end = Clock::now() + patience;
  while (wants_write() && Clock::now() < end) {
    pollfd fds[2] = {{to_, POLLOUT, 0}, {stop, POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    if (poll(fds, 2, static_cast<int>(std::max<long>(left, 0))) < 0 && errno != EINTR) break;
    if (fds[1].revents != 0) break;
    if (fds[0].revents == 0) continue;
    write_some();
    end = Clock::now() + patience;
  }
  return !wants_write();
}

bool colour_wanted(int fd) {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(fd) != 0 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::strcmp(term, "dumb") != 0;
}

}  // namespace launcher::life
