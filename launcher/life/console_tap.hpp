// Listens to a console that nobody is connected to, for its last words. The rule: it lets go when somebody asks (SIGUSR2, sent by
// `vmrun console`), and queues behind them, for QEMU serves one at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "launcher/host/fd.hpp"

namespace launcher::inline life {

// The end of what was said, and no more.
class LastWords {
 public:
  explicit LastWords(std::function<void(const std::string&)> heard = {}) : heard_(std::move(heard)) {}
  void add(const std::string& text);
  const std::string& text() const { return text_; }

 private:
  std::function<void(const std::string&)> heard_;  // of each piece, as it comes
  std::string text_;
};

// Where the keeper leaves what was said before somebody came.
std::filesystem::path console_backlog(const std::filesystem::path& run_dir);

// Of a console whose QEMU is gone: something, or its end, is there (or comes in a moment).
bool more_to_read(int fd);

class ConsoleTap {
 public:
  explicit ConsoleTap(std::string socket);  // "": there is no console
  int fd() const { return fd_.get(); }      // for poll(2); -1: none
  void read_some(LastWords& words);
  // Whoever waits is served next, and finds what was said before in that file.
  void let_go(LastWords& words, const std::filesystem::path& backlog);

 private:
  void connect();
  std::string socket_;
  Fd fd_;
};

}  // namespace launcher::life
