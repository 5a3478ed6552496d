// `vmrun run` (and bare `vmrun SPEC`): launch, stay, undo. The rule: undo first, then say; and nobody who does not read holds it up.
#include "launcher/commands/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <ctime>
#include <fstream>
#include <mutex>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/run_recorder.hpp"
#include "launcher/guest/half.hpp"
#include "launcher/guest/ready.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/host/process.hpp"
#include "launcher/life/keep.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/notify.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/life/signals.hpp"
#include "launcher/life/terminal.hpp"
#include "launcher/life/thread_report.hpp"
#include "launcher/plan/json.hpp"

namespace launcher::commands {

namespace {

class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled; everything was put back") {}
};

Teller make_teller(const Options& options) {
  Teller teller;
  teller.say = say;
  teller.check_cancelled = [] {
    if (Signals::pending() != 0) throw Cancelled();
  };
  if (isatty(STDERR_FILENO) != 0) teller.progress = progress;
  if (options.flag("verbose")) teller.detail = say;
  return teller;
}

boost::json::array timings_json(const Timings& timings) {
  boost::json::array out;
  for (const auto& [stage, time] : timings.stages()) out.push_back({{"stage", stage}, {"us", time.count()}});
  return out;
}

constexpr const char* guest_ready = "guest ready";

std::string stage_line(const std::string& stage, std::chrono::microseconds time) {
  return fmt::format("  {:<24} {:9.2f} ms\n", stage, static_cast<double>(time.count()) / 1000);
}

void show_timings(const Timings& timings) {
  std::string text;
  std::chrono::microseconds sum{0};
  for (const auto& [stage, time] : timings.stages()) {
    text += stage_line(stage, time);
    sum += time;
  }
  complain(text + stage_line("in all", sum));
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
void tell_starter(Fd pipe, bool ready) {
  if (!pipe) return;
  [[maybe_unused]] const ssize_t sent = write(pipe.get(), ready ? "r" : "t", 1);
  pipe.reset();
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));  // from here on nobody listens
  for (int old : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null.get(), old);
  [[maybe_unused]] const int moved = chdir("/");
}

// The guest runs: what only tells is tried, and may fail.
template <class Telling>
void try_to(const Telling& telling) {
  try {
    telling();
  } catch (const std::exception& error) {
    say(whole_story(error));
  }
}

// One `vmrun run`, from the spec to its record.
class Supervisor {
 public:
  Supervisor(const Options& options, const Launching& launching)
      : options_(options),
        ready_(launching.ready_fd),
        config_(host_config_or_throw(options)),
        recorder_(options, launching.expected) {
    attach_ = !launching.detached && !options.flag("no-console") && !options.flag("json");
    keeping_.say = say;
    keeping_.stop_timeout =
        std::chrono::milliseconds(static_cast<long>(options.number("stop-timeout").value_or(60) * 1000));
  }

  int run(const SpecFile& file) {
    record_.name = file.spec.name;
    spec_file_ = std::filesystem::absolute(file.document.file()).lexically_normal();
    record_.keeper = process_id(getpid()).value();
    record_.started = std::time(nullptr);
    try {
      return launch_and_keep(file);
    } catch (const Drifted& drifted) {
      print_drift(drifted, options_.flag("json"));
      return problems;
    } catch (const ProblemsFound& found) {
      print_problems(found.problems, &file.document, options_.flag("json"));
      return problems;
    } catch (const NotUndone& error) {
      record_failure(error.what(), left_over, error.left);
      for (const std::string& left : error.left) say("left behind: " + left);
      say(error.what());
      return left_over;
    } catch (const std::exception& error) {
      record_failure(whole_story(error), failed, {});
      throw;
    }
  }

 private:
  int launch_and_keep(const SpecFile& file) {
    const Spec& spec = file.spec;
    World world = this_world(machine_, config_);
    recorder_.watch(world, file);
    RunningVm vm = launch(file.spec, world, make_teller(options_), [&](const LaunchPlan& plan) {
      for (const std::string& note : plan.notes) say("note: " + note);
      if (attach_ && plan.console_on_stdio) console_ = Fd(::qmp::connect_unix(plan.console_socket));
      keeping_.console = console_.get();
      if (keeping_.console < 0) keeping_.listen_to = plan.console_socket;
    });
    ran_ = std::chrono::steady_clock::now();
    record_.started = vm.state.since;
    record_.timings.emplace();
    for (const auto& [stage, time] : vm.timings.stages()) record_.timings->push_back({stage, time.count()});
    write_down();
    try_to([&] { tell_running(vm, options_); });
    try_to([&] { recorder_.record(vm); });
    std::ofstream(vm.dir.path() / "spec") << spec_file_ << '\n';
    std::optional<ReadyWatch> watch;
    if (spec.ready.by == ReadySpec::By::launch) {
      notify_systemd("READY=1\nSTATUS=VM " + vm.plan.name + " runs");
      tell_starter(std::move(ready_), true);
    } else {
      notify_systemd("STATUS=VM " + vm.plan.name + " runs, and is not ready yet");
      watch.emplace(spec.ready, access_of(vm.plan.name, plan_json(vm.plan)), vm.dir.path(),
                    [this, &vm](const std::optional<std::string>& how) { tell_ready(vm, how); });
      keeping_.heard = [&watch](const std::string& text) { watch->heard(text); };
    }
    std::optional<GuestSetter> setter;
    if (!vm.plan.guest.empty() && access_of(vm.plan.name, plan_json(vm.plan)).agent)
      setter.emplace(vm.dir.path(), vm.plan.name, vm.plan.guest, [](const std::string& words) { say(words); });
    std::optional<RawTerminal> terminal;
    if (keeping_.console >= 0) terminal.emplace(true);
    keeping_.ended = [this](const Ended& ended) { record_end(ended); };
    const Ended ended = keep(vm, machine_, world.base, keeping_);
    terminal.reset();
    watch.reset();
    setter.reset();
    console_.reset();
    tell_ended(ended);
    return record_.exit_code;
  }

  // From the watch's own thread, once.
  void tell_ready(const RunningVm& vm, const std::optional<std::string>& how) {
    if (how) {
      const auto after = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - ran_);
      std::ofstream(vm.dir.path() / "ready") << *how << '\n';
      notify_systemd("READY=1\nSTATUS=VM " + vm.plan.name + " is ready: " + *how);
      record_ready(after);
      if (ready_ || options_.flag("json")) tell_event(vm.plan.name, *how, after);
    } else {
      say(fmt::format("VM {} runs, and its guest did not say that it is ready in time (ready_timeout)", vm.plan.name));
    }
    tell_starter(std::move(ready_), how.has_value());
  }

  void tell_event(const std::string& name, const std::string& how, std::chrono::microseconds after) const {
    if (options_.flag("json"))
      return print_json({{"event", "ready"}, {"name", name}, {"how", how}, {"us", after.count()}});
    say(fmt::format("VM {} is ready: {}", name, how));
    if (options_.flag("timings")) complain(stage_line(guest_ready, after));
  }

  void record_ready(std::chrono::microseconds after) {
    const std::scoped_lock lock(recording_);
    record_.timings->push_back({guest_ready, after.count()});
    write_down();
  }

  void record_end(const Ended& ended) {
    const std::scoped_lock lock(recording_);
    record_.ended = std::time(nullptr);
    record_.how = ended.how;
    record_.reason = ended.reason;
    record_.asked = ended.asked;
    record_.qemu_exit = ended.qemu_exit;
    record_.left = ended.left;
    record_.console = ended.console;
    record_.qemu = ended.qemu;
    if (!ended.cut.empty()) record_.cut = ended.cut;
    record_.exit_code = !ended.left.empty() ? left_over : ended.qemu_exit == 0 || ended.stopped ? done : failed;
    write_down();
  }

  void record_failure(const std::string& why, int code, const std::vector<std::string>& left) {
    record_.ended = std::time(nullptr);
    record_.how = "not-started";
    record_.reason = why;
    record_.exit_code = code;
    record_.left = left;
    write_down();
  }

  void write_down() {
    try {
      write_record(runs_directory(state_base(config_), record_.name), record_);
    } catch (const std::exception& error) {
      if (!told_no_record_) say(std::string("this run is not on record: ") + error.what());
      told_no_record_ = true;
    }
  }

  void tell_ended(const Ended& ended) {
    for (const std::string& left : ended.left) say(left);
    if (options_.flag("json"))
      return print_json({{"event", "ended"},
                         {"name", record_.name},
                         {"how", ended.how},
                         {"reason", ended.reason},
                         {"qemu_exit", ended.qemu_exit}});
    say(fmt::format("VM {}: {}{}", record_.name, ended.reason, ended.left.empty() ? "; everything is put back" : ""));
  }

  const Options& options_;
  Fd ready_;
  HostConfig config_;
  RunRecorder recorder_;
  LinuxHost machine_;
  Fd console_;
  KeepOptions keeping_;
  std::chrono::steady_clock::time_point ran_;  // since when the guest runs
  std::mutex recording_;                       // the guest may be ready while it ends
  RunRecord record_;
  std::string spec_file_;
  bool attach_ = false;
  bool told_no_record_ = false;
};

}  // namespace

int supervise(const Options& options, Launching launching) {
  if (!launching.file) launching.file = read_spec_or_print(options);
  if (!launching.file) return problems;
  if (options.flag("locked")) launching.expected = expected_of(options, options.word(0, "the spec's file") + ".lock");
  const Signals signals;
  never_wait_for_readers();
  constexpr std::uint64_t open_files =
      32768;  // 128 vCPUs with four disks need thousands; as libvirt (qemu.conf, max_files)
  raise_file_limit(open_files);
  return Supervisor(options, launching).run(*launching.file);
}

int run(const Options& options) { return supervise(options, {}); }

}  // namespace launcher::commands
