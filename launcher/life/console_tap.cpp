#include "launcher/life/console_tap.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <utility>

#include "launcher/life/run_record.hpp"
#include "launcher/steps/records.hpp"
#include "qmp/client.hpp"

namespace launcher::inline life {

void LastWords::add(const std::string& text) {
  if (heard_) heard_(text);
  text_ += text;
  if (text_.size() > 2 * last_words_kept) text_.erase(0, text_.size() - last_words_kept);
}

std::filesystem::path console_backlog(const std::filesystem::path& run_dir) { return run_dir / "console.backlog"; }

bool more_to_read(int fd) {
  constexpr int moment = 100;  // ms
  pollfd rest{fd, POLLIN, 0};
  return poll(&rest, 1, moment) == 1;
}

ConsoleTap::ConsoleTap(std::string socket) : socket_(std::move(socket)) { connect(); }

void ConsoleTap::connect() {
  if (socket_.empty()) return;
  try {
    fd_ = Fd(::qmp::connect_unix(socket_));
  } catch (const std::exception&) {
    // no last words, then
  }
}

void ConsoleTap::read_some(LastWords& words) {
  std::array<char, 8192> chunk{};
  const ssize_t got = recv(fd_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (got > 0)
    words.add(std::string(chunk.data(), static_cast<std::size_t>(got)));
  else if (got == 0 || (errno != EAGAIN && errno != EINTR))
    fd_.reset();
}

void ConsoleTap::let_go(LastWords& words, const std::filesystem::path& backlog) {
  try {
    if (fd_) read_some(words);
    if (fd_) records::replace(backlog, words.text());
  } catch (const std::exception&) {
    // a full disk: the console goes to whoever asks all the same
  }
  fd_.reset();
  connect();
}

}  // namespace launcher::life
