// When a guest is ready, by its own word: systemd's over vsock, its agent's, its console's or its sshd's. The rule: looked for beside what
// keeps the VM, which it never holds up; said once.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "launcher/guest/access.hpp"
#include "launcher/guest/notify_listener.hpp"
#include "launcher/spec/spec.hpp"

namespace launcher::inline guest {

// What said so now: "its agent answers"; nullopt: nothing yet. Of agent and ssh, where `by` asks for them.
std::optional<std::string> ready_now(ReadySpec::By by, const Access& access, const std::filesystem::path& run_dir);

class ReadyWatch {
 public:
  using Told = std::function<void(const std::optional<std::string>& how)>;  // nullopt: not within its time

  ReadyWatch(const ReadySpec& ready, Access access, std::filesystem::path run_dir, Told told);
  void heard(const std::string& console);  // from another thread

 private:
  std::optional<std::string> look();

  ReadySpec ready_;
  Access access_;
  std::filesystem::path run_dir_;
  Told told_;
  std::optional<NotifyListener> notified_;  // its systemd; none: not asked for, or nothing to be heard by
  std::mutex mutex_;
  std::string words_;  // the console's last ones
  std::atomic<bool> seen_ = false;
  std::jthread thread_;  // the last: ended before the rest goes
};

}  // namespace launcher::guest
