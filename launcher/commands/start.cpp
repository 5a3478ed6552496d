// `vmrun start`: the same as run, in a keeper of its own. The rule: until the VM runs, a signal to us is a signal to the keeper,
// so that Ctrl-C calls the whole launch off and we say how that ended.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/run.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/signals.hpp"

namespace launcher::commands {

namespace {

// What our caller had open, and might hold a lock by, is not ours to keep; nor is its directory, once the VM runs.
void let_go_of_the_caller(int ready_fd) {
  const auto ready = static_cast<unsigned>(ready_fd);
  if (ready > 3) close_range(3, ready - 1, 0);
  close_range(ready + 1, ~0U, 0);
  for (const char* name : {"VMRUN_RUN_DIR", "VMRUN_STATE_DIR", "VMRUN_CACHE_DIR", "VMRUN_HOST_TOML"})
    if (const char* given = std::getenv(name); given != nullptr && *given != '\0' && *given != '/')
      setenv(name, std::filesystem::absolute(given).c_str(), 1);
}

[[noreturn]] void be_keeper(const Options& options, int ready_fd) {
  setsid();
  let_go_of_the_caller(ready_fd);
  int code = failed;
  try {
    code = supervise(options, {.detached = true, .ready_fd = ready_fd, .file = {}, .expected = {}});
  } catch (const UsageError& error) {
    say(error.what());
    code = problems;
  } catch (const std::exception& error) {
    say(whole_story(error));
  }
  // stdio holds nothing of ours: what tell() could not write was dropped
  _exit(code);
}

enum class Start { runs, not_ready, ended };

// ended: its keeper did before the VM ran, or was told to end by a signal that came to us.
Start wait_until_it_runs(int ready, const Signals& signals, pid_t keeper) {
  bool called_off = false;
  while (true) {
    pollfd fds[2] = {{ready, POLLIN, 0}, {signals.fd(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return Start::ended;
    }
    if (fds[1].revents != 0) {
      signalfd_siginfo info{};
      if (read(signals.fd(), &info, sizeof info) != sizeof info) continue;
      if (!called_off) say("calling it off; again to end the guest at once");
      called_off = true;
      ::kill(keeper, static_cast<int>(info.ssi_signo));  // our child, not reaped yet: the pid is its own
    }
    if (fds[0].revents == 0) continue;
    char byte = 0;
    if (read(ready, &byte, 1) == 1 && !called_off) return byte == 'r' ? Start::runs : Start::not_ready;
    if (!called_off) return Start::ended;
    // it had just begun to run: the signal has told its keeper to end it
    const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, keeper, 0)));
    for (pollfd ended[2] = {{pidfd.get(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}; ended[0].revents == 0;) {
      if (poll(ended, 2, -1) < 0 && errno != EINTR) break;
      signalfd_siginfo info{};
      if (ended[1].revents != 0 && read(signals.fd(), &info, sizeof info) == sizeof info)
        ::kill(keeper, static_cast<int>(info.ssi_signo));
    }
    return Start::ended;
  }
}

}  // namespace

int start(const Options& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) throw std::runtime_error("pipe failed");
  Fd ready(ends[0]), running(ends[1]);
  std::fflush(nullptr);
  const Signals signals;  // before the fork: one that comes between is the keeper's as well as ours
  const pid_t keeper = fork();
  if (keeper < 0) throw std::runtime_error("fork failed");
  if (keeper == 0) {
    ready.reset();
    be_keeper(options, running.release());
  }
  running.reset();
  const Start how = wait_until_it_runs(ready.get(), signals, keeper);
  if (how != Start::ended) return how == Start::runs ? done : failed;
  const int code = reap(keeper);  // it has said why
  return code == done ? failed : code;
}

}  // namespace launcher::commands
