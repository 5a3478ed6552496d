#include "launcher/life/launch.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "launcher/life/await_lock.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/steps/transaction.hpp"
#include "qmp/commands.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline life {

namespace {

// QEMU is gone before it was up: its own words, exit code and command line say why.
[[noreturn]] void explain_end(const LaunchPlan& plan, const ProcessId& qemu, const Teller& teller, Logs& logs) {
  if (const Fd pidfd(open_pidfd(qemu)); pidfd) {
    pollfd ending{pidfd.get(), POLLIN, 0};
    if (poll(&ending, 1, 5000) != 1)
      kill(qemu.pid, SIGKILL);  // it closed its monitor and does not end; our child, so the pid is its own
  }
  const int code = reap(qemu.pid);
  logs.read_some();
  const std::string words = last_lines(plan.start().log);
  if (teller.detail) teller.detail("QEMU's command line was:\n" + shell_line(plan.start().child.argv));
  const bool pool =
      words.find("unable to map backing store for guest RAM") != words.npos && !plan.reservation.pages.empty();
  throw std::runtime_error(fmt::format("{}QEMU ended before it was up (exit code {}): {}",
                                       pool ? std::string(pages_gone) + ". " : "", code,
                                       words.empty() ? "it said nothing" : words));
}

std::uint64_t planned_bytes(const LaunchPlan& plan) {
  std::uint64_t bytes = 0;
  for (const topology::PageClaim& claim : plan.reservation.pages)
    if (claim.huge()) bytes += claim.page.count * claim.pages;
  for (const topology::PageClaim& spare : plan.spare) bytes -= std::min(bytes, spare.page.count * spare.pages);
  return bytes;
}

topology::Bytes touched(pid_t pid, topology::Bytes page, const MemoryOf& memory_of) {
  std::uint64_t bytes = 0, filled = 0;
  if (const auto ranges = memory_of(pid, page))
    for (const topology::MappedRange& range : *ranges)
      for (const auto& [node, pages] : range.pages_on_node) bytes += range.huge ? pages * range.page.count : 0;
  for (const auto& [where, pages] : filled_pages(getpid())) filled += pages * where.second;
  return {std::max(bytes, filled) >> 20 << 20};
}

class Launch {
 public:
  Launch(const Spec& spec, World& world, const Teller& teller) : spec_(spec), world_(world), teller_(teller) {}

  RunningVm run(const std::function<void(const LaunchPlan&)>& on_paused) {
    look_around();
    claim();
    try {
      reserve();
      lock_.reset();
      prepare_and_start();
      return talk(on_paused);
    } catch (...) {
      undo_and_rethrow();
    }
  }

 private:
  void check_cancelled() const {
    if (teller_.check_cancelled) teller_.check_cancelled();
  }
  void say(const std::string& text) const {
    if (teller_.say) teller_.say(text);
  }
  void progress(const std::string& text) const {
    if (teller_.progress) teller_.progress(text);
  }

  void look_around() {
    auto features = world_.features();
    if (!features) throw ProblemsFound({{"", features.error(), ""}});
    features_ = std::move(*features);
    facts_ = world_.facts(spec_);
    timings_.mark("look at QEMU and files");
    lock_.emplace(await_lock(world_.base, teller_.say, teller_.check_cancelled));
    const Recovered recovered = recover_dead(world_.host, world_.base);
    for (const std::string& name : recovered.names) say("put back what a crash of VM " + name + " had left");
    for (const std::string& what : recovered.passed_over) say(what);
    for (const std::string& left : recovered.left) say("could not put back everything: " + left);
    // its devices have their own drivers again; and what [host] is about, other VMs change under this lock
    if (!recovered.names.empty() || spec_.host.asks()) facts_ = world_.facts(spec_);
    timings_.mark("lock and recover");
  }

  // Plan and claim under one lock: what is read is what is taken.
  void claim() {
    topology::HostTopology host = world_.read_host();
    subtract_pending(host, world_.base);
    facts_.makers_of_vfs = makers_of_vfs(world_.base);
    if (VmDir::find(world_.base, spec_.name))
      throw ProblemsFound({{"name", fmt::format("a VM '{}' runs already on this host", spec_.name),
                            "stop it with `vmrun stop " + spec_.name + "`, or give this one another name"}});
    auto plan = make_plan(spec_, host, world_.config, read_reservations(world_.base), features_, facts_);
    if (!plan) throw ProblemsFound(std::move(plan.error()));
    plan_.emplace(std::move(*plan));
    if (world_.approve) world_.approve(*plan_);
    timings_.mark("plan");
    auto dir = VmDir::claim(world_.base, spec_.name);
    if (!dir) throw ProblemsFound({{"name", dir.error(), ""}});
    dir_.emplace(std::move(*dir));
    transaction_.emplace(world_.host, *dir_, plan_->uid);
    transaction_->on_progress([this](const std::string& text) {
      check_cancelled();
      progress(text);
    });
  }

  void reserve() {
    dir_->write_plan(to_json(*plan_));
    for (const PlannedStep& planned : plan_->steps) {
      if (!is_locked(planned.step)) continue;
      check_cancelled();
      progress(describe(planned.step));
      transaction_->perform(planned.step);
    }
    progress("");
    for (const std::string& left : transaction_->opened().passed_over) say("left as it was: " + left);
    timings_.mark("reserve pages");
  }

  void prepare_and_start() {
    for (const PlannedStep& planned : plan_->steps) {
      if (is_locked(planned.step)) continue;
      check_cancelled();
      if (std::holds_alternative<StartQemu>(planned.step)) timings_.mark("open devices");
      transaction_->perform(planned.step);
    }
    qemu_ = transaction_->opened().qemu.value();
    dir_->write_state(started());
    timings_.mark("start QEMU");
  }

  RunningVm talk(const std::function<void(const LaunchPlan&)>& on_paused) {
    try {
      qmp::Client monitor = shake_hands();
      State state = pin(monitor);
      if (on_paused) on_paused(*plan_);
      return resume(std::move(monitor), std::move(state));
    } catch (const qmp::Error& error) {
      progress("");
      if (error.kind == qmp::Error::Kind::disconnected)
        explain_end(*plan_, qemu_, teller_, transaction_->opened().logs);
      throw;
    }
  }

  State started() {
    State state;
    state.qemu = qemu_;
    state.helpers = transaction_->opened().helpers;
    return state;
  }

  // QEMU waits for an answer of its helpers, and would wait for one of the dead.
  void check_helpers() {
    for (const Helper& helper : transaction_->opened().helpers) {
      if (is_alive(helper.process)) continue;
      transaction_->opened().logs.read_some();
      const std::string words = last_lines(log_of(*plan_, helper.role));
      const std::string_view said = words.empty() ? "it said nothing" : std::string_view(words);
      throw std::runtime_error(fmt::format("{} ended before the VM ran: {}", helper.role, said));
    }
  }

  qmp::Client shake_hands() {
    if (!plan_->partition.empty()) pin_others_again(world_.base, dir_->name(), world_.host);
    qmp::Client monitor(transaction_->opened().monitor.release());
    const std::uint64_t whole = planned_bytes(*plan_);
    monitor.on_idle([&] {
      check_cancelled();
      transaction_->opened().logs.read_some();
      check_helpers();
      if (whole > 0 && teller_.progress)  // else the kernel would walk QEMU's page tables for nobody
        progress(fmt::format("preallocating {} of {}",
                             to_string(touched(qemu_.pid, plan_->placement.page, world_.memory_of)),
                             to_string(topology::Bytes{whole})));
    });
    qmp::ask_ahead_for_threads(monitor, !plan_->iothreads.empty(), world_.patience);
    monitor.handshake(world_.start_patience);
    progress("");
    monitor.on_idle({});
    transaction_->opened().fillings.clear();  // all is there now
    timings_.mark("QEMU up");
    return monitor;
  }

  State pin(qmp::Client& monitor) {
    State state = started();
    check_features(*plan_, monitor, world_.patience);
    state.threads = pin_threads(*plan_, monitor, qemu_, state.helpers, world_.host, world_.patience);
    check_memory(*plan_, qemu_, world_.memory_of);
    if (!transaction_->opened().passed_over.empty()) state.left = transaction_->opened().passed_over;
    state.pages_held = plan_->spare.empty();  // else what is claimed and not touched stays subtracted
    timings_.mark("pin");
    return state;
  }

  // What was made for this VM is kept from here on: the guest may write to it. A name that somebody took meanwhile stays
  // theirs, and those given before it are taken back.
  void name_new_images() {
    std::vector<std::string> named;
    try {
      for (const Unnamed& file : transaction_->opened().unnamed) {
        if (file.path.empty()) continue;
        world_.host.files.name_file(file.fd.get(), file.path);
        named.push_back(file.path);
      }
    } catch (...) {
      for (const std::string& path : named) world_.host.files.drop_name(path);
      throw;
    }
  }

  RunningVm resume(qmp::Client monitor, State state) {
    check_cancelled();
    name_new_images();
    qmp::cont(monitor, world_.patience);
    state.phase = Phase::running;
    state.since = std::time(nullptr);
    tell_that_it_runs(state);
    timings_.mark("resume");
    return RunningVm{std::move(*plan_),
                     std::move(*dir_),
                     qemu_,
                     std::move(monitor),
                     std::move(timings_),
                     std::move(state),
                     std::move(transaction_->opened().logs)};
  }

  // The guest runs: from here on nothing that only looks or tells may end it.
  void tell_that_it_runs(State& state) {
    try {
      pin_late_threads(*plan_, qemu_, world_.host, state.threads);
      dir_->write_state(state);
    } catch (const std::exception& error) {
      say("the VM runs, but could not be written down: " + whole_story(error));
    }
  }
  [[noreturn]] void undo_and_rethrow() {
    const std::exception_ptr failure = std::current_exception();
    progress("");
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      if (!lock_) lock_.emplace(await_lock(world_.base, teller_.say));
      transaction_.reset();  // its fds keep a tap alive
      const std::vector<std::string> left = unwind(world_.host, *dir_, world_.base, teller_.say);
      pin_others_again(world_.base, dir_->name(), world_.host);
      if (!left.empty()) throw NotUndone(whole_story(error), left);
    }  // whatever is no std::exception is a dead stop: nothing is undone, recover will
    std::rethrow_exception(failure);
  }

  const Spec& spec_;
  World& world_;
  const Teller& teller_;
  Timings timings_;
  QemuFeatures features_;
  Facts facts_;
  std::optional<Lock> lock_;
  std::optional<LaunchPlan> plan_;
  std::optional<VmDir> dir_;
  std::optional<Transaction> transaction_;
  ProcessId qemu_;
};

}  // namespace

void Timings::mark(std::string stage) {
  const auto now = std::chrono::steady_clock::now();
  stages_.emplace_back(std::move(stage),
                       std::chrono::duration_cast<std::chrono::microseconds>(now - std::exchange(last_, now)));
}

RunningVm launch(const Spec& spec, World& world, const Teller& teller,
                 const std::function<void(const LaunchPlan&)>& on_paused) {
  return Launch(spec, world, teller).run(on_paused);
}

}  // namespace launcher::life
