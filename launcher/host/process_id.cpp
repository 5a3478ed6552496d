// Which process is meant: its pid and start time, as /proc has them, and a pidfd that cannot be another's.
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline host {

namespace {

std::string stat_line(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// While other threads are still ending, a dead leader's process holds its fds and its memory.
bool has_ended(const topology::TaskStat& stat) { return (stat.state == 'Z' && stat.threads <= 1) || stat.state == 'X'; }

}  // namespace

std::optional<ProcessId> process_id(pid_t pid) {
  const auto stat = topology::parse_stat(stat_line(pid));
  if (!stat || has_ended(*stat)) return std::nullopt;
  return ProcessId{pid, stat->start};
}

unsigned fifo_priority(pid_t thread) {
  sched_param parameter{};
  const int policy = sched_getscheduler(thread);
  if (policy < 0 || (policy & ~SCHED_RESET_ON_FORK) != SCHED_FIFO || sched_getparam(thread, &parameter) < 0) return 0;
  return static_cast<unsigned>(parameter.sched_priority);
}

bool is_alive(const ProcessId& process) { return process_id(process.pid) == process; }

int open_pidfd(const ProcessId& process) {
  Fd fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  return fd && is_alive(process) ? fd.release() : -1;  // checked after the open: the pidfd cannot be another process's
}

void end_process(const ProcessId& process) {
  const Fd fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (fd) {
    // A zombie counts here: while other threads of it still end, its taps and pages are not free yet. The pidfd is ready
    // only when all of them have gone.
    const auto stat = topology::parse_stat(stat_line(process.pid));
    if (stat && stat->start == process.start) {
      if (has_ended(*stat)) return;  // to be reaped by whoever waits for it
      syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0);
      pollfd waiting{fd.get(), POLLIN, 0};
      while (poll(&waiting, 1, -1) < 0 && errno == EINTR) {
      }
    }
  }
  waitpid(process.pid, nullptr, WNOHANG);  // ECHILD when it is not ours
}

}  // namespace launcher::host
