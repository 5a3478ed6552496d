#include "launcher/life/keep.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "launcher/life/console_tap.hpp"
#include "launcher/life/end_story.hpp"
#include "launcher/life/interrupts.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/notify.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/life/power_down.hpp"
#include "launcher/life/retries.hpp"
#include "launcher/life/signals.hpp"
#include "launcher/life/slim_down.hpp"
#include "launcher/life/stop_ladder.hpp"
#include "launcher/life/terminal.hpp"
#include "qmp/commands.hpp"

namespace launcher::inline life {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds qmp_patience{5};

class Keeper {
 public:
  Keeper(RunningVm& vm, Host& host, const KeepOptions& options)
      : vm_(vm),
        host_(host),
        options_(options),
        interrupts_(vm.plan.functions, host.kernel),
        out_(options.console, STDOUT_FILENO),
        in_(STDIN_FILENO, options.console),
        tap_(options.console < 0 ? options.listen_to : ""),
        watchdog_(watchdog_period()) {
    if (watchdog_) next_watchdog_ = Clock::now();
    interrupts_.begin(Clock::now());
    late_threads_.begin(Clock::now());
  }

  // Until QEMU is gone. What its console still holds is read, and waits for drain().
  Ended wait() {
    vm_.monitor.on_event([this](const qmp::Event& event) { see(event); });
    vm_.monitor.on_idle([this] { vm_.logs.read_some(); });  // a QEMU that waits for its console's log answers nobody
    pidfd_ = Fd(open_pidfd(vm_.qemu));
    for (const Helper& helper : vm_.state.helpers) helper_pidfds_.emplace_back(open_pidfd(helper.process));
    while (pidfd_ && !exited_) try_turn();
    ended_.qemu_exit = ended_with(vm_.qemu.pid);
    read_rest_of_console();
    ended_.cut = vm_.logs.close();  // before anything is undone: a full disk has their room again
    ended_.console = console_words_.text();
    ended_.qemu = last_lines(vm_.plan.start().log);  // the log goes with the run directory
    ended_.asked = ended_.stopped || story_.asked();
    EndStory::End end = story_.end(ended_.qemu_exit, ended_.qemu);
    ended_.how = std::move(end.how);
    ended_.reason = std::move(end.reason);
    return std::move(ended_);
  }

  // The end of the console's words to the terminal. A reader that takes nothing for a while, or a signal, ends it.
  void drain() {
    if (!out_.flush(signals_.fd(), std::chrono::seconds(10))) say("nobody read the end of the console");
    out_.drop_pending();
  }

  void idle() { feed_watchdog(); }  // while what is undone waits for the lock

 private:
  void say(const std::string& text) const {
    if (options_.say) options_.say(text);
  }

  bool ends_in_a_moment() const {
    pollfd qemu{pidfd_.get(), POLLIN, 0};
    return poll(&qemu, 1, 200) == 1;  // ms
  }

  // A turn that fails has not looked at everything; the next one will.
  void try_turn() {
    try {
      turn();
    } catch (const std::exception& error) {
      say(std::string("while the VM runs: ") + error.what());
      exited_ = ends_in_a_moment();  // a fault that stays must not keep a CPU busy
    }
  }

  // Nobody but `list` and `show` needs it: a full disk or a removed directory is no reason to end a guest.
  void write_state() {
    try {
      vm_.dir.write_state(vm_.state);
    } catch (const std::exception&) {
    }
  }

  void turn() {
    std::vector<pollfd> fds{{pidfd_.get(), POLLIN, 0}, {signals_.fd(), POLLIN, 0}, {vm_.monitor.fd(), POLLIN, 0}};
    if (options_.console >= 0) {
      fds.push_back({out_.wants_read() ? out_.from() : -1, POLLIN, 0});
      fds.push_back({out_.wants_write() ? out_.to() : -1, POLLOUT, 0});
      fds.push_back({!out_.ended() && in_.wants_read() ? in_.from() : -1, POLLIN, 0});
      fds.push_back({!out_.ended() && in_.wants_write() ? in_.to() : -1, POLLOUT, 0});
    }
    fds.push_back({tap_.fd(), POLLIN, 0});
    const std::size_t first_helper = fds.size();
    for (const Fd& fd : helper_pidfds_) fds.push_back({fd.get(), POLLIN, 0});
    for (const LogPipe& log : vm_.logs) fds.push_back({log.fd(), POLLIN, 0});
    const int ready = slimming_.after_wait(poll(fds.data(), fds.size(), slimming_.before_wait(wait_time())));
    if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
    if (ready > 0) {
      vm_.logs.read_some();
      if (options_.console >= 0) relay(fds);
      if (fds[first_helper - 1].revents != 0) tap_.read_some(console_words_);
      if (fds[1].revents != 0) take_signal();
      if (fds[2].revents != 0) read_monitor();
      exited_ = fds[0].revents != 0;
      for (std::size_t i = first_helper; i < first_helper + helper_pidfds_.size() && !exited_; ++i)
        if (fds[i].revents != 0) lose_helper(i - first_helper);
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
      if (vm_.state.threads.size() != known) write_state();
    } catch (const std::exception&) {
      // the guest runs; `vmrun show` tells where the thread is
    }
  }

  // The guest goes on without what it served; QEMU ends with it by itself.
  void lose_helper(std::size_t index) {
    helper_pidfds_[index].reset();   // poll(2) passes over it from now on
    if (ends_in_a_moment()) return;  // gone entirely: a helper whose line is cut ends before the QEMU that cut it has
    const std::string& role = vm_.state.helpers[index].role;
    const std::string words = last_lines(log_of(vm_.plan, role));
    if (!ladder_) say(fmt::format("{} ended while the VM runs{}{}", role, words.empty() ? "" : ": ", words));
  }

  int wait_time() const {
    Clock::time_point due = ladder_ ? ladder_->due() : Clock::time_point::max();
    if (next_watchdog_) due = std::min(due, *next_watchdog_);
    for (const auto& look : {interrupts_.due(), late_threads_.due()})
      if (look) due = std::min(due, *look);
    if (due == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 0, 1'000'000));
  }

  void relay(const std::vector<pollfd>& fds) {
    if (fds[3].revents != 0) read_console();
    if (fds[4].revents != 0) out_.write_some();
    if (fds[5].revents != 0) in_.read_some();
    if (fds[6].revents != 0) in_.write_some();
  }

  void read_console() {
    out_.read_some();
    console_words_.add(out_.last());
  }

  void kill_it(const char* why) {
    ended_.stopped = true;
    syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    say(why);
  }

  void take_signal() {
    signalfd_siginfo info{};
    if (read(signals_.fd(), &info, sizeof info) != sizeof info) return;
    const bool again = ladder_.has_value();
    if (info.ssi_signo == SIGUSR2) {
      tap_.let_go(console_words_, console_backlog(vm_.dir.path()));
    } else if (info.ssi_signo == SIGUSR1) {
      kill_it("killed, as `vmrun kill` asked");
    } else if (again && info.ssi_signo == SIGINT) {
      kill_it("killed on the second Ctrl-C");
    } else if (!again) {
      begin_stop();
    }
  }

  void begin_stop() {
    ended_.stopped = true;
    vm_.state.phase = Phase::stopping;
    write_state();
    notify_systemd("STOPPING=1");
    ladder_.emplace(options_.stop_timeout, Clock::now());
  }

  void climb() {
    const std::optional<Rung> rung = ladder_->step(Clock::now());
    if (!rung) return;
    if (*rung != Rung::powerdown) say(describe(*rung));
    try {
      if (*rung == Rung::powerdown) ask_to_power_down();
      if (*rung == Rung::quit) qmp::quit(vm_.monitor, qmp_patience);
    } catch (const qmp::Error& error) {
      if (vm_.monitor.fd() >= 0) say(std::string("QEMU's monitor: ") + error.what());
    }
    if (*rung == Rung::terminate) syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGTERM, nullptr, 0);
    if (*rung == Rung::kill) syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  }

  void ask_to_power_down() {
    const PowerDown done = power_down(vm_.monitor, qmp_patience);
    say(done.told);
    if (!done.worth_waiting) ladder_->hurry(Clock::now());
  }

  void read_monitor() {
    try {
      vm_.monitor.wait_events(std::chrono::milliseconds(0), [](const qmp::Event&) { return false; });
    } catch (const qmp::Error&) {
      // QEMU is ending, and the pidfd will say so; fd() is -1 from now on, which poll(2) passes over
    }
  }

  void see(const qmp::Event& event) {
    if (const std::string news = story_.see(event); !news.empty()) say(news);
    if (event.name == "STOP") see_phase(Phase::paused);
    if (event.name == "RESUME") see_phase(Phase::running);
    if (event.name == "RESET") interrupts_.begin(Clock::now());
  }

  void see_phase(Phase phase) {
    if (vm_.state.phase == phase || vm_.state.phase == Phase::stopping) return;
    vm_.state.phase = phase;
    write_state();
  }

  // systemd is told we live while QEMU lives. Whether it is quick is another question: with its storage stalled QEMU answers nobody
  // for as long, and goes on afterwards.
  void feed_watchdog() {
    if (!next_watchdog_ || Clock::now() < *next_watchdog_) return;
    next_watchdog_ = Clock::now() + *watchdog_;
    notify_systemd("WATCHDOG=1");
  }

  // QEMU is gone: what is left in the socket is there, and no more comes.
  void read_rest_of_console() {
    while (options_.console >= 0 && !out_.ended() && more_to_read(out_.from())) read_console();
    while (tap_.fd() >= 0 && more_to_read(tap_.fd())) tap_.read_some(console_words_);
  }

  RunningVm& vm_;
  Host& host_;
  const KeepOptions& options_;
  InterruptWatch interrupts_;
  Looks late_threads_{std::chrono::milliseconds(10), std::chrono::minutes(10)};
  Slimming slimming_;
  Signals signals_;
  Relay out_, in_;
  ConsoleTap tap_;
  LastWords console_words_{options_.heard};
  std::optional<std::chrono::microseconds> watchdog_;
  std::optional<Clock::time_point> next_watchdog_;
  std::optional<StopLadder> ladder_;
  Ended ended_;
  EndStory story_;
  Fd pidfd_;
  std::vector<Fd> helper_pidfds_;
  bool exited_ = false;
};

}  // namespace

Ended keep(RunningVm& vm, Host& host, const std::filesystem::path& base, const KeepOptions& options) {
  Keeper keeper(vm, host, options);
  Ended ended = keeper.wait();
  Teller teller;
  teller.say = options.say;
  teller.check_cancelled = [&keeper] { keeper.idle(); };  // nobody cancels this
  ended.left = finish(host, vm.dir, base, teller);
  reap_ended(vm.qemu.pid);
  if (options.ended) options.ended(ended);
  keeper.drain();
  return ended;
}

}  // namespace launcher::life
