// `vmrun stop`: the ladder of life/stop_ladder, climbed from outside; the VM's keeper cleans up.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/ending.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/life/power_down.hpp"
#include "launcher/life/stop_ladder.hpp"
#include "qmp/commands.hpp"

namespace launcher::commands {

namespace {

using Clock = std::chrono::steady_clock;

// Climbs until QEMU is gone.
class Climb {
 public:
  Climb(const Seen& vm, std::chrono::milliseconds timeout, bool quiet)
      : vm_(vm), pidfd_(open_pidfd(*vm.state.qemu)), ladder_(timeout, Clock::now()), quiet_(quiet) {}

  void to_the_end() {
    while (pidfd_ && !ladder_.exhausted()) {
      if (const std::optional<Rung> rung = ladder_.step(Clock::now())) step(*rung);
      if (wait_for_end(pidfd_.get(), std::min(ladder_.due(), Clock::now() + std::chrono::hours(24)))) return;
    }
  }

 private:
  void tell(const std::string& text) const {
    if (!quiet_) say(text);
  }

  void step(Rung rung) {
    if (rung != Rung::powerdown) tell(describe(rung));
    try {
      if (rung == Rung::powerdown) ask();
      if (rung == Rung::quit) ::qmp::quit(monitor(), patience);
    } catch (const std::exception& error) {
      say(error.what());
      // its keeper has a line of its own to QEMU
      if (rung == Rung::powerdown && vm_.keeper && signal_keeper(*vm_.keeper, SIGTERM))
        say("asking its keeper instead");
    }
    if (rung == Rung::terminate) syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGTERM, nullptr, 0);
    if (rung == Rung::kill) end_at_once(vm_);
  }

  void ask() {
    const PowerDown asked = power_down(monitor(), patience);
    tell(asked.told);
    if (!asked.worth_waiting) ladder_.hurry(Clock::now());
  }

  // The socket of that VM and no other: its name is nobody else's while its keeper lives.
  ::qmp::Client& monitor() {
    if (monitor_) return *monitor_;
    ::qmp::Client client = connect_monitor(vm_.dir);
    if (!vm_.still_there()) throw std::runtime_error("VM " + vm_.dir.name() + " has ended meanwhile");
    return monitor_.emplace(std::move(client));
  }

  const Seen& vm_;
  Fd pidfd_;
  StopLadder ladder_;
  bool quiet_;
  std::optional<::qmp::Client> monitor_;
};

}  // namespace

int stop(const Options& options) {
  const Seen vm = see(named_vm(options));
  const std::chrono::milliseconds timeout(static_cast<long>(options.number("timeout").value_or(60) * 1000));
  if (vm.state.phase == Phase::starting && vm.still_there())
    signal_keeper(*vm.keeper, SIGTERM);  // not running yet: the launch is called off
  else if (vm.state.qemu)
    Climb(vm, timeout, options.flag("json")).to_the_end();
  const int code = await_cleanup(vm);
  report(options, vm.dir, "stopped");
  return code;
}

}  // namespace launcher::commands
