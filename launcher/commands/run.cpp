// `vmrun run` (and bare `vmrun SPEC`): launch, stay, undo. `vmrun start`: the same in a keeper of its own.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdio>

#include "launcher/commands/commands.hpp"
#include "launcher/life/keep.hpp"
#include "launcher/life/terminal.hpp"
#include "launcher/life/thread_report.hpp"

namespace launcher::commands {

namespace {

class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled; everything was put back") {}
};

Teller make_teller() {
  Teller teller;
  teller.say = say;
  teller.check_cancelled = [] {
    if (Signals::pending() != 0) throw Cancelled();
  };
  if (isatty(STDERR_FILENO) != 0) {
    teller.progress = [](const std::string& text) { std::fprintf(stderr, "\r\033[K%s", text.c_str()); };
  }
  return teller;
}

boost::json::array timings_json(const Timings& timings) {
  boost::json::array out;
  for (const auto& [stage, time] : timings.stages()) out.push_back({{"stage", stage}, {"us", time.count()}});
  return out;
}

void show_timings(const Timings& timings) {
  std::chrono::microseconds sum{0};
  for (const auto& [stage, time] : timings.stages()) {
    std::fprintf(stderr, "  %-24s %9.2f ms\n", stage.c_str(), static_cast<double>(time.count()) / 1000);
    sum += time;
  }
  std::fprintf(stderr, "  %-24s %9.2f ms\n", "in all", static_cast<double>(sum.count()) / 1000);
}

// What is said when the guest begins to run: where everything is, as the kernel reports it.
void tell_running(const RunningVm& vm, const Options& options) {
  if (options.flag("json")) {
    print_json({{"event", "running"},
                {"name", vm.plan.name},
                {"pid", getpid()},
                {"qemu", vm.qemu.pid},
                {"threads", thread_report_json(vm.dir)},
                {"timings", timings_json(vm.timings)}});
    return;
  }
  say(fmt::format("VM {} runs: QEMU pid {}, {} threads where the plan wants them", vm.plan.name, vm.qemu.pid,
                  vm.state.threads.size()));
  if (options.flag("timings")) show_timings(vm.timings);
}

// The pipe on which a detached keeper tells `vmrun start` that the VM runs.
class Readiness {
 public:
  explicit Readiness(int fd) : fd_(fd) {}
  void tell() {
    if (fd_ < 0) return;
    [[maybe_unused]] const ssize_t sent = write(fd_, "r", 1);
    close(fd_);
    fd_ = -1;
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);  // from here on nobody listens
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
    close(null);
  }

 private:
  int fd_;
};

int supervise(const Options& options, bool detached, int ready_fd) {
  const std::optional<SpecFile> file = read_spec_or_print(options);
  if (!file) return problems;
  const Signals signals;
  LinuxHost machine;
  World world = this_world(machine, host_config_or_throw(options));
  KeepOptions keeping;
  keeping.say = say;
  keeping.stop_timeout =
      std::chrono::milliseconds(static_cast<long>(options.number("stop-timeout").value_or(60) * 1000));
  const bool attach = !detached && !options.flag("no-console") && !options.flag("json");
  try {
    RunningVm vm = launch(file->spec, world, make_teller(), [&](const LaunchPlan& plan) {
      for (const std::string& note : plan.notes) say("note: " + note);
      if (attach && plan.console_on_stdio) keeping.console = ::qmp::connect_unix(plan.console_socket);
    });
    tell_running(vm, options);
    notify_systemd("READY=1\nSTATUS=VM " + vm.plan.name + " runs");
    Readiness(ready_fd).tell();
    slim_down();
    std::optional<RawTerminal> terminal;
    if (keeping.console >= 0) terminal.emplace(true);
    const Ended ended = keep(vm, machine, world.base, keeping);
    terminal.reset();
    if (keeping.console >= 0) close(keeping.console);
    for (const std::string& left : ended.left) say(left);
    if (options.flag("json"))
      print_json(
          {{"event", "ended"}, {"name", vm.plan.name}, {"reason", ended.reason}, {"qemu_exit", ended.qemu_exit}});
    else
      say(fmt::format("VM {}: {}{}", vm.plan.name, ended.reason, ended.left.empty() ? "; everything is put back" : ""));
    if (!ended.left.empty()) return left_over;
    return ended.qemu_exit == 0 || ended.stopped ? done : failed;
  } catch (const ProblemsFound& found) {
    print_problems(found.problems, &file->document, options.flag("json"));
    return problems;
  } catch (const NotUndone& error) {
    say(error.what());
    for (const std::string& left : error.left) say("left behind: " + left);
    return left_over;
  }
}

}  // namespace

int run(const Options& options) { return supervise(options, false, -1); }

int start(const Options& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) throw std::runtime_error("pipe failed");
  std::fflush(nullptr);
  const pid_t keeper = fork();
  if (keeper < 0) throw std::runtime_error("fork failed");
  if (keeper == 0) {
    close(ends[0]);
    setsid();
    int code = failed;
    try {
      code = supervise(options, true, ends[1]);
    } catch (const UsageError& error) {
      say(error.what());
      code = problems;
    } catch (const std::exception& error) {
      say(whole_story(error));
    }
    std::fflush(nullptr);
    _exit(code);
  }
  close(ends[1]);
  char byte = 0;
  ssize_t got = 0;
  do {
    got = read(ends[0], &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return done;
  return reap(keeper);  // it ended before the VM ran, and has said why
}

}  // namespace launcher::commands
