// Where a guest's systemd says that it is ready (sd_notify(3), vmm.notify_socket). The rule: each message is a connection, and the guest's
// PID 1 stands still until we have read it and closed: so nothing else is waited for here, and once all is said nobody can connect.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "launcher/host/fd.hpp"

namespace launcher::inline guest {

class NotifyListener {
 public:
  // listener: a stream socket that listens. is_guest: whether a connection is this guest's; whoever else connects is not listened to.
  NotifyListener(Fd listener, std::function<bool(int connection)> is_guest);
  bool is_ready() const { return ready_; }
  void stop() { thread_.request_stop(); }  // within a fifth of a second nobody can connect any more

 private:
  void serve(const std::stop_token& stop);

  Fd listener_;
  std::function<bool(int)> is_guest_;
  std::atomic<bool> ready_ = false;
  std::jthread thread_;  // the last: ended before the rest goes
};

}  // namespace launcher::guest
