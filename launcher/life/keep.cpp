#include "launcher/life/keep.hpp"

#include <fmt/format.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "launcher/life/interrupts.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/life/retries.hpp"
#include "launcher/life/stop_ladder.hpp"
#include "launcher/life/terminal.hpp"
#include "qmp/commands.hpp"

namespace launcher::inline life {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds qmp_patience{5};

sigset_t kept_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// Half of systemd's WATCHDOG_USEC; nullopt: no watchdog wanted.
std::optional<std::chrono::microseconds> watchdog_period() {
  const char* text = std::getenv("WATCHDOG_USEC");
  const unsigned long long usec = text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
  if (usec == 0) return std::nullopt;
  return std::chrono::microseconds(usec / 2);
}

class Keeper {
 public:
  Keeper(RunningVm& vm, Host& host, const KeepOptions& options)
      : vm_(vm),
        host_(host),
        options_(options),
        interrupts_(vm.plan.functions, host),
        out_(options.console, STDOUT_FILENO),
        in_(STDIN_FILENO, options.console),
        watchdog_(watchdog_period()) {
    if (watchdog_) next_watchdog_ = Clock::now();
    interrupts_.begin(Clock::now());
    late_threads_.begin(Clock::now());
  }

  Ended wait() {
    vm_.monitor.on_event([this](const qmp::Event& event) { see(event); });
    pidfd_ = open_pidfd(vm_.qemu);
    for (const Helper& helper : vm_.state.helpers) helper_pidfds_.push_back(open_pidfd(helper.process));
    while (pidfd_ >= 0 && !exited_) turn();
    if (pidfd_ >= 0) close(pidfd_);
    for (const int fd : helper_pidfds_) {
      if (fd >= 0) close(fd);
    }
    drain_console();
    ended_.qemu_exit = reap(vm_.qemu.pid);
    say_how_it_ended();
    return std::move(ended_);
  }

 private:
  void say(const std::string& text) const {
    if (options_.say) options_.say(text);
  }

  void turn() {
    std::vector<pollfd> fds{{pidfd_, POLLIN, 0}, {signals_fd_(), POLLIN, 0}, {vm_.monitor.fd(), POLLIN, 0}};
    if (options_.console >= 0) {
      fds.push_back({out_.wants_read() ? out_.from() : -1, POLLIN, 0});
      fds.push_back({out_.wants_write() ? out_.to() : -1, POLLOUT, 0});
      fds.push_back({!out_.ended() && in_.wants_read() ? in_.from() : -1, POLLIN, 0});
      fds.push_back({!out_.ended() && in_.wants_write() ? in_.to() : -1, POLLOUT, 0});
    }
    const std::size_t first_helper = fds.size();
    for (const int fd : helper_pidfds_) fds.push_back({fd, POLLIN, 0});
    const int ready = poll(fds.data(), fds.size(), wait_time());
    if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
    if (ready > 0) {
      if (options_.console >= 0) relay(fds);
      if (fds[1].revents != 0) take_signal();
      if (fds[2].revents != 0) read_monitor();
      exited_ = fds[0].revents != 0;
      for (std::size_t i = first_helper; i < fds.size() && !exited_; ++i) {
        if (fds[i].revents != 0) lose_helper(i - first_helper);
      }
    }
    if (ladder_) climb();
    interrupts_.look(Clock::now());
    look_for_late_threads();
    feed_watchdog();
  }

  void look_for_late_threads() {
    if (!late_threads_.take(Clock::now())) return;
    const std::size_t known = vm_.state.threads.size();
    try {
      if (pin_recovery_thread(vm_.plan, vm_.qemu, host_, vm_.state.threads)) late_threads_.end();
      if (vm_.state.threads.size() != known) vm_.dir.write_state(vm_.state);
    } catch (const std::exception&) {
      // the guest runs; `vmrun show` tells where the thread is
    }
  }

  // The guest goes on without what it served; QEMU ends with it by itself.
  void lose_helper(std::size_t index) {
    close(std::exchange(helper_pidfds_[index], -1));  // poll(2) passes over it from now on
    pollfd qemu{pidfd_, POLLIN, 0};
    constexpr int moment = 200;               // ms: a helper whose line is cut ends before the QEMU that cut it has
    if (poll(&qemu, 1, moment) == 1) return;  // gone entirely
    const std::string& role = vm_.state.helpers[index].role;
    const std::string words = last_lines(log_of(vm_.plan, role));
    if (!ladder_) say(fmt::format("{} ended while the VM runs{}{}", role, words.empty() ? "" : ": ", words));
  }

  int wait_time() const {
    Clock::time_point due = Clock::time_point::max();
    if (ladder_) due = ladder_->due();
    if (next_watchdog_) due = std::min(due, *next_watchdog_);
    for (const auto& look : {interrupts_.due(), late_threads_.due()})
      if (look) due = std::min(due, *look);
    if (due == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 1'000'000));
  }

  void relay(const std::vector<pollfd>& fds) {
    if (fds[3].revents != 0) out_.read_some();
    if (fds[4].revents != 0) out_.write_some();
    if (fds[5].revents != 0) in_.read_some();
    if (fds[6].revents != 0) in_.write_some();
  }

  void take_signal() {
    signalfd_siginfo info{};
    if (read(signals_fd_(), &info, sizeof info) != sizeof info) return;
    const bool again = ladder_.has_value();
    if (again && info.ssi_signo == SIGINT) {
      say("killed on the second Ctrl-C");
      syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
    } else if (!again) {
      begin_stop();
    }
  }

  void begin_stop() {
    ended_.stopped = true;
    vm_.state.phase = Phase::stopping;
    vm_.dir.write_state(vm_.state);
    notify_systemd("STOPPING=1");
    ladder_.emplace(options_.stop_timeout, Clock::now());
  }

  void climb() {
    const std::optional<Rung> rung = ladder_->step(Clock::now());
    if (!rung) return;
    say(describe(*rung));
    try {
      if (*rung == Rung::powerdown) qmp::system_powerdown(vm_.monitor, qmp_patience);
      if (*rung == Rung::quit) qmp::quit(vm_.monitor, qmp_patience);
    } catch (const qmp::Error& error) {
      if (vm_.monitor.fd() >= 0) say(std::string("QEMU's monitor: ") + error.what());
    }
    if (*rung == Rung::terminate) syscall(SYS_pidfd_send_signal, pidfd_, SIGTERM, nullptr, 0);
    if (*rung == Rung::kill) syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
  }

  void read_monitor() {
    try {
      vm_.monitor.wait_events(std::chrono::milliseconds(0), [](const qmp::Event&) { return false; });
    } catch (const qmp::Error&) {
      // QEMU is ending, and the pidfd will say so; fd() is -1 from now on, which poll(2) passes over
    }
  }

  void see(const qmp::Event& event) {
    if (event.name == "SHUTDOWN") {
      const auto* reason = event.data.if_contains("reason");
      if (reason != nullptr && reason->is_string()) shutdown_reason_ = std::string(reason->get_string());
    }
    if (event.name == "GUEST_PANICKED") see_panic(event);
    if (event.name == "RESET") interrupts_.begin(Clock::now());
    if (event.name == "WATCHDOG") say("the guest fed its watchdog no more");
  }

  // action: "pause", "shutdown" or "run". With "run" it goes on, and what ends it later is something else.
  void see_panic(const qmp::Event& event) {
    const auto* action = event.data.if_contains("action");
    const std::string what = action != nullptr && action->is_string() ? std::string(action->get_string()) : "";
    panicked_ = what != "run";
    if (what == "pause") say("the guest panicked and is paused, to be looked at; `vmrun stop` or `kill` ends it");
    if (what == "run") say("the guest panicked");
  }

  // systemd is told we live only while QEMU answers.
  void feed_watchdog() {
    if (!next_watchdog_ || Clock::now() < *next_watchdog_) return;
    next_watchdog_ = Clock::now() + *watchdog_;
    try {
      qmp::query_status(vm_.monitor, std::chrono::duration_cast<std::chrono::milliseconds>(*watchdog_));
      notify_systemd("WATCHDOG=1");
    } catch (const qmp::Error&) {
    }
  }

  void drain_console() {
    if (options_.console < 0) return;
    while (!out_.ended()) {  // QEMU is gone: what is left in the socket, then its end
      if (out_.wants_write()) out_.write_some();
      out_.read_some();
    }
    while (out_.wants_write()) out_.write_some();
  }

  void say_how_it_ended() {
    const int code = ended_.qemu_exit;
    if (panicked_)
      ended_.reason = "the guest panicked";
    else if (code > 128)
      ended_.reason = fmt::format("QEMU was killed by signal {}", code - 128);
    else if (code != 0)
      ended_.reason = fmt::format("QEMU ended with exit code {}", code);
    else if (shutdown_reason_ == "guest-shutdown")
      ended_.reason = "the guest powered off";
    else if (shutdown_reason_ == "host-qmp-quit")
      ended_.reason = "QEMU was told to quit";
    else
      ended_.reason = "the VM ended";
    if (const std::string words = code != 0 && !panicked_ ? last_lines(vm_.plan.start().log) : ""; !words.empty())
      ended_.reason += ", and its last words were: " + words;  // the log goes with the run directory
  }

  int signals_fd_() const { return signals_.fd(); }

  RunningVm& vm_;
  Host& host_;
  const KeepOptions& options_;
  InterruptWatch interrupts_;
  Looks late_threads_{std::chrono::milliseconds(10), std::chrono::minutes(10)};
  Signals signals_;
  Relay out_, in_;
  std::optional<std::chrono::microseconds> watchdog_;
  std::optional<Clock::time_point> next_watchdog_;
  std::optional<StopLadder> ladder_;
  Ended ended_;
  std::string shutdown_reason_;
  int pidfd_ = -1;
  std::vector<int> helper_pidfds_;
  bool exited_ = false;
  bool panicked_ = false;
};

}  // namespace

Signals::Signals() {
  const sigset_t set = kept_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

Signals::~Signals() { close(fd_); }

int Signals::pending() {
  sigset_t waiting;
  sigpending(&waiting);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (sigismember(&waiting, signal) == 1) return signal;
  }
  return 0;
}

Ended keep(RunningVm& vm, Host& host, const std::filesystem::path& base, const KeepOptions& options) {
  Ended ended = Keeper(vm, host, options).wait();
  ended.left = finish(host, vm.dir, base);
  return ended;
}

void slim_down() {
  malloc_trim(0);
  const auto drop_text = [](dl_phdr_info* object, std::size_t, void*) {
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;  // never written: nothing can be lost
      const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
      const std::uintptr_t end = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) / page * page;
      if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // NOLINT: an address range
    }
    return 0;
  };
  dl_iterate_phdr(drop_text, nullptr);
}

void notify_systemd(const std::string& message) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // abstract
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
         static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
  close(fd);
}

}  // namespace launcher::inline life
