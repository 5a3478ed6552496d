#include "launcher/commands/ending.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/steps/transaction.hpp"

namespace launcher::commands {

namespace {
using Clock = std::chrono::steady_clock;
}  // namespace

bool wait_for_end(int pidfd, Clock::time_point until) {
  pollfd waiting{pidfd, POLLIN, 0};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    const int ready = poll(&waiting, 1, static_cast<int>(std::clamp<long long>(left, 0, 1'000'000'000)));
    if (ready > 0) return true;
    if (ready == 0 && Clock::now() >= until) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

int await_cleanup(const VmDir& dir, const std::optional<ProcessId>& keeper) {
  constexpr std::chrono::seconds cleanup{60};
  const int fd = keeper ? open_pidfd(*keeper) : -1;
  if (fd >= 0) {
    const bool ended = wait_for_end(fd, Clock::now() + cleanup);
    close(fd);
    if (!ended) throw std::runtime_error("VM " + dir.name() + "'s keeper is still busy putting things back");
  }
  if (!VmDir::find(run_base(), dir.name()) || dir.owner_alive()) return done;  // gone, or already a new VM of this name
  LinuxHost machine;
  const Lock lock(run_base());
  const std::vector<std::string> left = unwind(machine, dir, run_base());
  for (const std::string& what : left) say(what);
  return left.empty() ? done : left_over;
}

}  // namespace launcher::commands
