// Verbs on a running VM: stop, kill, pause, resume, reset, qmp, agent. They speak to its QMP socket; its keeper cleans up.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "launcher/commands/commands.hpp"
#include "launcher/life/stop_ladder.hpp"
#include "launcher/steps/transaction.hpp"
#include "qmp/commands.hpp"

namespace launcher::commands {

namespace {

constexpr std::chrono::seconds patience{5};
using Clock = std::chrono::steady_clock;

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

// QEMU is gone or going; its keeper undoes the rest. Without a keeper we do it.
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

int simple(const Options& options, const std::string& what,
           void (*command)(::qmp::Client&, std::chrono::milliseconds)) {
  const VmDir dir = named_vm(options);
  ::qmp::Client client = connect_monitor(dir);
  command(client, patience);
  report(options, dir, what);
  return done;
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

int kill(const Options& options) {
  const VmDir dir = named_vm(options);
  const std::optional<ProcessId> keeper = dir.owner();
  const State state = dir.read_state();
  if (state.qemu)
    end_process(*state.qemu);
  else if (keeper && dir.owner_alive())
    ::kill(keeper->pid, SIGTERM);
  const int code = await_cleanup(dir, keeper);
  report(options, dir, "killed");
  return code;
}

int pause(const Options& options) { return simple(options, "paused", ::qmp::stop); }
int resume(const Options& options) { return simple(options, "resumed", ::qmp::cont); }
int reset(const Options& options) { return simple(options, "reset", ::qmp::system_reset); }

int qmp(const Options& options) {
  const VmDir dir = named_vm(options);
  const ::qmp::Command command =
      command_of(options.word(1, "a QMP command: a name, or JSON like '{\"execute\": \"query-status\"}'"));
  ::qmp::Client client = connect_monitor(dir);
  print_json(client.execute(
      command, std::chrono::milliseconds(static_cast<long>(options.number("timeout").value_or(30) * 1000))));
  return done;
}

// The guest agent speaks the same lines, without a greeting.
int agent(const Options& options) {
  const VmDir dir = named_vm(options);
  const ::qmp::Command command =
      command_of(options.word(1, "a guest agent command: a name, or JSON like '{\"execute\": \"guest-ping\"}'"));
  const std::filesystem::path socket = dir.path() / "agent.sock";
  if (!std::filesystem::exists(socket))
    throw std::runtime_error("VM " + dir.name() + " has no agent channel: its spec needs a table [agent]");
  ::qmp::Client client(::qmp::connect_unix(socket));
  try {
    print_json(client.execute(
        command, std::chrono::milliseconds(static_cast<long>(options.number("timeout").value_or(5) * 1000))));
  } catch (const ::qmp::Error& error) {
    if (error.kind == ::qmp::Error::Kind::timeout)
      throw std::runtime_error("no guest agent answers: does qemu-ga run in the guest?");
    throw;
  }
  return done;
}

}  // namespace launcher::commands
