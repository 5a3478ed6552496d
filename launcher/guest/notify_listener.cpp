#include "launcher/guest/notify_listener.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <string>
#include <utility>

namespace launcher::inline guest {

namespace {

// All that one connection says, as far as it is no more than a message may be; empty where it says nothing for seconds.
std::string message_of(int connection) {
  constexpr std::size_t most = 65536;
  const timeval patience{2, 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::string message;
  char block[4096];
  for (ssize_t count = 0; message.size() < most && (count = recv(connection, block, sizeof block, 0)) > 0;)
    message.append(block, static_cast<std::size_t>(count));
  return message;
}

}  // namespace

NotifyListener::NotifyListener(Fd listener, std::function<bool(int)> is_guest)
    : listener_(std::move(listener)),
      is_guest_(std::move(is_guest)),
      thread_([this](const std::stop_token& stop) { serve(stop); }) {}

void NotifyListener::serve(const std::stop_token& stop) {
  constexpr int moment_ms = 200;
  while (listener_ && !ready_ && !stop.stop_requested()) {
    pollfd one{listener_.get(), POLLIN, 0};
    if (poll(&one, 1, moment_ms) != 1) continue;
    const Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection || !is_guest_(connection.get())) continue;
    ready_ = ("\n" + message_of(connection.get())).find("\nREADY=1") != std::string::npos;
  }
  listener_.reset();
}

}  // namespace launcher::guest
