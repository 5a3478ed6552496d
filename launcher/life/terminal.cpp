#include "launcher/life/terminal.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace launcher::inline life {

RawTerminal::RawTerminal(bool signals) {
  if (isatty(STDIN_FILENO) == 0 || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &before_) < 0)
    return;
  termios raw = before_;
  raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
  if (!signals) raw.c_lflag &= ~static_cast<tcflag_t>(ISIG);
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
  constexpr std::size_t certain = 4096;  // what a pipe that polled writable takes without blocking (PIPE_BUF)
  const ssize_t sent = write(to_, pending_.data(), std::min(pending_.size(), certain));
  if (sent > 0) {
    pending_.erase(0, static_cast<std::size_t>(sent));
  } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    ended_ = true;  // nobody reads any more
    pending_.clear();
  }
}

bool colour_wanted(int fd) {
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(fd) != 0 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::strcmp(term, "dumb") != 0;
}

}  // namespace launcher::inline life
