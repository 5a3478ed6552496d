// A QMP connection over a connected fd: handshake, ids, deadlines, events. The rules: one command at a time is in the
// air, but for those that were sent ahead; EOF fails everything pending; disconnected is terminal; every wait has a deadline.
#pragma once

#include <boost/json/fwd.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "qmp/message.hpp"

namespace qmp {

// What a call can end in, besides its reply. `kind` tells a harness apart what happened.
class Error : public std::runtime_error {
 public:
  enum class Kind { refused, timeout, disconnected, protocol };
  Error(Kind end, const std::string& what, std::string word = {})
      : std::runtime_error(what), kind(end), error_class(std::move(word)) {}
  Kind kind;
  std::string error_class;  // refused only: QEMU's word for it, "GenericError", "DeviceNotFound", ...
};

class Client {
 public:
  using OnEvent = std::function<void(const Event&)>;

  // Takes the fd (a unix stream socket) and closes it at the end. Nothing is sent yet.
  explicit Client(int fd);
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // Greeting, then qmp_capabilities; returns only after its reply ("QEMU is up" is that reply, not the greeting).
  // Throws Error. A guest agent has neither greeting nor capabilities: call execute() at once.
  Greeting handshake(std::chrono::milliseconds deadline);

  // Sends and waits. Events that come meanwhile go to on_event in order. Throws Error(refused) with QEMU's words.
  // After Error(timeout) the client goes on working: the late reply is dropped when it comes. (Unless the peer took only
  // half of the command: then, as after Error(protocol), the connection is closed and every call is Error(disconnected).)
  boost::json::value execute(const Command& command, std::chrono::milliseconds deadline);

  // Sends them in one piece and waits for nothing. A later execute() of one of them takes its answer, and so does the handshake where
  // qmp_capabilities is the first. For what only looks: where nobody asks again, nobody knows what became of it.
  void send_ahead(const std::vector<Command>& commands, std::chrono::milliseconds deadline);

  // Reads whatever arrives until the deadline or until `until` says true (asked after each event); false: deadline.
  // Throws Error(disconnected) on EOF. With 0 it takes what is there and returns. Between calls no complete line stays
  // behind in here (those after the one that `until` liked are passed on and asked about too), so poll(2) on fd() is enough.
  // `until` sees only what is read in this wait: what came with an earlier reply went to on_event, so record it there.
  bool wait_events(std::chrono::milliseconds deadline, const std::function<bool(const Event&)>& until);

  void on_event(OnEvent handler);  // handler and `until` must not call back into this client
  // Called about five times a second while a call waits: for progress, and to leave by throwing.
  void on_idle(std::function<void()> handler);
  int fd() const;  // for poll(2) in a caller that waits for other things as well; -1 when disconnected

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Connect to a unix socket path (close-on-exec). Waits a few seconds at most for a listener whose queue is full.
// Throws std::system_error.
int connect_unix(const std::string& path);

}  // namespace qmp
