#include "launcher/life/signals.hpp"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace launcher::inline life {

namespace {

sigset_t kept_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = kept_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  for (int ignored : {SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP, SIGXFSZ}) signal(ignored, SIG_IGN);
  fd_ = opened_or_refuse(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

int Signals::pending() {
  sigset_t waiting;
  sigpending(&waiting);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1}) {
    if (sigismember(&waiting, signal) == 1) return signal;
  }
  return 0;
}

}  // namespace launcher::life
