// /run/vmrun (or $XDG_RUNTIME_DIR/vmrun), below which VMs are written down, and its lock. The rule: only a directory that is ours, and that
// nobody else may write to, is believed.
#pragma once

#include <filesystem>
#include <functional>

#include "launcher/host/fd.hpp"

namespace launcher::inline steps {

// $VMRUN_RUN_DIR, else /run/vmrun for root, else $XDG_RUNTIME_DIR/vmrun, else /tmp/vmrun-UID.
std::filesystem::path run_base();

// Makes it where it is not there: 0755, whatever the umask. Throws std::runtime_error where it is another user's, a symbolic link, or
// open for others to write.
void need_own_directory(const std::filesystem::path& path);

// An exclusive flock on BASE/.lock; waits. Throws std::system_error. waiting: called some twenty times a second
// meanwhile, and may throw to give up.
class Lock {
 public:
  explicit Lock(const std::filesystem::path& base, const std::function<void()>& waiting = {});

 private:
  Fd fd_;
};

}  // namespace launcher::steps
