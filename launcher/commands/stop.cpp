// `vmrun stop`: the ladder of life/stop_ladder, climbed from outside; the VM's keeper cleans up.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/ending.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/life/stop_ladder.hpp"
#include "qmp/commands.hpp"

namespace launcher::commands {

namespace {

constexpr std::chrono::seconds patience{5};
using Clock = std::chrono::steady_clock;

void climb(Rung rung, const VmDir& dir, std::optional<::qmp::Client>& monitor, int pidfd,
           const std::optional<ProcessId>& keeper) {
  try {
    if (rung == Rung::powerdown || rung == Rung::quit) {
      if (!monitor) monitor.emplace(connect_monitor(dir));
      if (rung == Rung::powerdown)
        ::qmp::system_powerdown(*monitor, patience);
      else
        ::qmp::quit(*monitor, patience);
    }
  } catch (const std::exception& error) {
    say(error.what());
    if (rung == Rung::powerdown && keeper) {  // its keeper has a line of its own to QEMU
      say("asking its keeper instead");
      ::kill(keeper->pid, SIGTERM);
    }
  }
  if (rung == Rung::terminate) syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, nullptr, 0);
  if (rung == Rung::kill) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
}

}  // namespace

int stop(const Options& options) {
  const VmDir dir = named_vm(options);
  const std::optional<ProcessId> keeper = dir.owner();
  const State state = dir.read_state();
  if (state.phase == Phase::starting && keeper && dir.owner_alive()) {
    ::kill(keeper->pid, SIGTERM);  // not running yet: the launch is called off
  } else if (state.qemu) {
    const int pidfd = open_pidfd(*state.qemu);
    std::optional<::qmp::Client> monitor;
    StopLadder ladder(std::chrono::milliseconds(static_cast<long>(options.number("timeout").value_or(60) * 1000)),
                      Clock::now());
    while (pidfd >= 0 && !ladder.exhausted()) {
      if (const std::optional<Rung> rung = ladder.step(Clock::now())) {
        if (!options.flag("json")) say(describe(*rung));
        climb(*rung, dir, monitor, pidfd, keeper);
      }
      if (wait_for_end(pidfd, std::min(ladder.due(), Clock::now() + std::chrono::hours(24)))) break;
    }
    if (pidfd >= 0) close(pidfd);
  }
  const int code = await_cleanup(dir, keeper);
  report(options, dir, "stopped");
  return code;
}

}  // namespace launcher::commands
