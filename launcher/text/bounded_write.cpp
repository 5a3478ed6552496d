#include "launcher/text/bounded_write.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace launcher::inline text {

namespace {

using Clock = std::chrono::steady_clock;

// O_NONBLOCK would be everybody's who has this terminal, and a poll(2) that says "ready" does not promise that a terminal takes
// all of it. So a signal of our own, to this thread, ends a write(2) that sleeps; repeated, lest one come just before it.
class Interrupter {
 public:
  explicit Interrupter(std::chrono::milliseconds after) {
    struct sigaction quiet {};
    quiet.sa_handler = [](int) {};  // no SA_RESTART: write(2) returns
    sigaction(SIGALRM, &quiet, &before_);
    sigemptyset(&alarm_);
    sigaddset(&alarm_, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm_, &mask_);
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
    made_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    if (!made_) return;
    const long ms = std::max<long>(1, static_cast<long>(after.count()));
    const itimerspec when{.it_interval = {0, 5'000'000}, .it_value = {ms / 1000, ms % 1000 * 1'000'000}};
    timer_settime(timer_, 0, &when, nullptr);
  }
  ~Interrupter() {
    if (made_) timer_delete(timer_);
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
    sigaction(SIGALRM, &before_, nullptr);
  }
  Interrupter(const Interrupter&) = delete;
  Interrupter& operator=(const Interrupter&) = delete;

 private:
  struct sigaction before_ {};
  sigset_t alarm_{}, mask_{};
  timer_t timer_{};
  bool made_ = false;
};

}  // namespace

std::size_t write_within(int fd, std::string_view bytes, std::chrono::milliseconds bound) {
  constexpr std::size_t certain = 4096;  // what a pipe that polled writable takes without blocking (PIPE_BUF)
  const Clock::time_point end = Clock::now() + bound;
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto left =
        std::max(std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()), std::chrono::milliseconds(0));
    pollfd ready{fd, POLLOUT, 0};
    const int polled = poll(&ready, 1, static_cast<int>(left.count()));
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) {
      errno = EAGAIN;
      return done;
    }
    const Interrupter interrupter(std::max(left, std::chrono::milliseconds(10)));
    const ssize_t sent = write(fd, bytes.data() + done, std::min(bytes.size() - done, certain));
    if (sent > 0)
      done += static_cast<std::size_t>(sent);
    else if (sent < 0 && errno != EINTR && errno != EAGAIN)
      return done;
    else if (Clock::now() >= end) {
      errno = EAGAIN;
      return done;
    }
  }
  return done;
}

}  // namespace launcher::text
