// While the VM lives: how its end is told, how it is stopped rung by rung, its console, and that everything is undone.
#include "launcher/life/keep.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "launcher/life/notify.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/life/signals.hpp"
#include "launcher/life/slim_down.hpp"
#include "launcher/spec/read_spec.hpp"
#include "qmp/commands.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

// A thread of the given name has ended whenever it is to be pinned: between the look at /proc and the call.
struct VanishingHost : fakes::FakeHost {
  using FakeHost::FakeHost;
  std::string vanishes;
  void vanish(pid_t thread) const {
    const std::string name = fakes::read_file("/proc/" + std::to_string(thread) + "/comm");
    if (!vanishes.empty() && name.starts_with(vanishes)) throw std::system_error(ESRCH, std::generic_category(), name);
  }
  void pin(pid_t thread, const topology::CpuSet& cpus) override {
    vanish(thread);
    FakeHost::pin(thread, cpus);
  }
  topology::CpuSet pinned(pid_t thread) override {
    vanish(thread);
    return FakeHost::pinned(thread);
  }
};

// Guest memory that lies wherever it was planned.
std::vector<topology::MappedRange> all_of_it() {
  topology::MappedRange range;
  range.page = topology::mib(2);
  range.huge = true;
  range.pages_on_node = {{0, 1000}, {1, 1000}};
  return {range};
}

// A VM that runs: no devices, a fake QEMU; pages of a pool if asked for.
struct Running {
  fakes::TempDir dir;
  fs::path base = dir / "run";
  VanishingHost host{dir / "host"};
  topology::HostTopology machine =
      topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts/rocky-2s.json").string()).value();
  std::string before;
  std::vector<std::string> said;
  std::optional<RunningVm> vm;
  std::function<void(const Ended&)> when_ended;
  std::function<void()> when_said;
  int console = -1;
  std::chrono::milliseconds lasted{};  // the last keep()

  explicit Running(const std::string& behaviour = "", topology::Bytes page = topology::kib(4),
                   const std::string& vanishes = "") {
    host.vanishes = vanishes;
    const fakes::Environment odd("FAKE_QEMU", behaviour);
    World world{.host = host,
                .base = base,
                .read_host = [this] { return machine; },
                .facts =
                    [this](const Spec& spec) {
                      Facts facts = assumed_facts(spec, machine);
                      facts.run_base = base;
                      return facts;
                    },
                .features = []() -> std::expected<QemuFeatures, std::string> {
                  auto features =
                      features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu/10.0.json")).value();
                  features.binary = VMRUN_FAKE_QEMU;
                  return features;
                },
                .config = {},
                .memory_of = [](pid_t, topology::Bytes) { return all_of_it(); }};
    fs::create_directories(base);
    for (const topology::Node& node : machine.nodes)
      for (const topology::HugePagePool& pool : node.pools)
        host.add_pool({.node = node.id, .page = pool.page, .total = pool.total});
    before = host.snapshot(base);
    Spec spec;
    spec.name = "db";
    spec.cpu.count = 2;
    spec.memory.size = topology::mib(256);
    spec.memory.page = page;
    vm.emplace(launch(spec, world, {}));
  }

  // Signals come this long after the wait began.
  Ended keep_with(const std::vector<std::pair<std::chrono::milliseconds, int>>& signals,
                  std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    const Signals blocked;  // in this thread and those it starts
    std::jthread sender([signals, self = getpid()] {
      for (const auto& [after, number] : signals) {
        std::this_thread::sleep_for(after);
        kill(self, number);
      }
    });
    KeepOptions options;
    options.stop_timeout = timeout;
    options.ended = when_ended;
    options.console = console;
    options.say = [this](const std::string& text) {
      said.push_back(text);
      if (when_said) when_said();
    };
    const auto begun = std::chrono::steady_clock::now();
    Ended ended = keep(*vm, host, base, options);
    lasted = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
    sender.join();
    while (Signals::pending() != 0) {  // what came after the end
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, Signals::pending());
      int got = 0;
      sigwait(&set, &got);
    }
    return ended;
  }
};

using std::chrono::milliseconds;
using topology::mib;

}  // namespace

TEST_CASE("a guest that powers off by itself") {
  Running run;
  std::jthread guest([pid = run.vm->qemu.pid] {
    std::this_thread::sleep_for(milliseconds(50));
    kill(pid, SIGTERM);  // the fake ends with exit code 0, as after a power-off
  });
  const Ended ended = run.keep_with({});
  CHECK(ended.qemu_exit == 0);
  CHECK(!ended.stopped);
  CHECK(ended.left.empty());
  CHECK(run.said.empty());
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("what QEMU says without end stays bounded, and what was cut of it is told") {
  Running run("talks=104857600");
  const fs::path log = run.vm->plan.start().log;
  std::uintmax_t largest = 0;
  std::string first;
  std::jthread guest([&, pid = run.vm->qemu.pid] {
    for (int i = 0; i < 4000; ++i) {  // until it has said all: at most 20 s
      std::this_thread::sleep_for(milliseconds(5));
      std::error_code gone;
      largest = std::max(largest, fs::file_size(log, gone));
      const std::string text = fakes::read_file(log);
      first = text.substr(0, text.find('\n'));
      if (text.find("that was all") != std::string::npos) break;
    }
    kill(pid, SIGTERM);
  });
  const Ended ended = run.keep_with({});
  guest.join();
  CHECK(first == "my first words");
  CHECK(largest <= LogPipe::least);
  CHECK(ended.qemu_exit == 0);
  CHECK(ended.qemu.ends_with("that was all\nmy last words"));
  REQUIRE(ended.cut.size() == 1);
  INFO(ended.cut[0]);
  CHECK(ended.cut[0].starts_with("qemu.log: 104"));
  CHECK(ended.cut[0].find(" bytes were cut") != std::string::npos);
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("KVM's own thread for huge pages goes to the emulator's CPUs, however late it comes") {
  Running run("late-recovery=150");
  const ProcessId qemu = run.vm->qemu;
  std::promise<pid_t> found;
  std::jthread guest([&found, qemu, begun = std::chrono::steady_clock::now()] {
    std::vector<Thread> threads;
    const auto named = [](const Thread& thread) { return thread.name == "kvm-nx-lpage-re"; };
    const auto passed = [&] { return std::chrono::steady_clock::now() - begun; };
    while (std::ranges::none_of(threads, named) && passed() < std::chrono::seconds(20)) {
      std::this_thread::sleep_for(milliseconds(10));
      threads = threads_of(qemu, {}, false);
    }
    const auto recovery = std::ranges::find_if(threads, named);
    found.set_value(recovery == threads.end() ? 0 : recovery->tid);
    std::this_thread::sleep_for(passed() + milliseconds(500));  // the next look is half as late again as the one before
    kill(qemu.pid, SIGTERM);
  });
  run.keep_with({});
  const pid_t recovery = found.get_future().get();
  const std::vector<ThreadRecord>& records = run.vm->state.threads;
  CHECK(std::ranges::count(records, recovery, &ThreadRecord::tid) == 1);
  CHECK(records.back() == ThreadRecord{recovery, "emulator", run.vm->plan.placement.emulator, 0});
  CHECK(run.host.pinned_ever().at(recovery) == run.vm->plan.placement.emulator);
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("Ctrl-C asks the guest to power down, and it does") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    Running run("powerdown-ms=50");
    const Ended ended = run.keep_with({{milliseconds(50), signal}});
    CHECK(ended.stopped);
    CHECK(ended.qemu_exit == 0);
    CHECK(ended.reason == "the guest powered off");
    CHECK(run.said == std::vector<std::string>{"asked the guest to power down (ACPI)"});
    CHECK(run.host.snapshot(run.base) == run.before);
  }
}

TEST_CASE("a guest that does not power down: QEMU is told to quit") {
  Running run("ignore-powerdown");
  const Ended ended = run.keep_with({{milliseconds(20), SIGINT}}, milliseconds(100));
  CHECK(ended.reason == "QEMU was told to quit");
  CHECK(run.said == std::vector<std::string>{"asked the guest to power down (ACPI)",
                                             "the guest did not power down in time: told QEMU to quit"});
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("a second Ctrl-C kills; a second SIGTERM does not") {
  Running run("ignore-powerdown,ignore-quit,ignore-term");
  const Ended ended =
      run.keep_with({{milliseconds(20), SIGTERM}, {milliseconds(50), SIGTERM}, {milliseconds(300), SIGINT}});
  CHECK(ended.qemu_exit == 128 + SIGKILL);
  CHECK(ended.reason == "QEMU was killed by signal 9");
  CHECK(run.lasted >= milliseconds(300));
  CHECK(ended.stopped);
  CHECK(run.said == std::vector<std::string>{"asked the guest to power down (ACPI)", "killed on the second Ctrl-C"});
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("a QEMU killed from outside is told, and its VM is put away") {
  Running run;
  kill(run.vm->qemu.pid, SIGKILL);
  const Ended ended = run.keep_with({});
  CHECK(ended.qemu_exit == 128 + SIGKILL);
  CHECK(!ended.stopped);
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("what cannot be undone at the end is told") {
  Running run;
  kill(run.vm->qemu.pid, SIGKILL);
  run.host.heal();
  run.host.fail_at(0);
  const Ended ended = run.keep_with({});
  REQUIRE(ended.left.size() == 1);
  CHECK(ended.left[0].find("told to fail") != std::string::npos);
  run.host.heal();
  CHECK(finish(run.host, run.vm->dir, run.base).empty());
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("a directory that is gone costs a record and no guest: it powers down, and all is undone") {
  Running run("powerdown-ms=20", mib(2));
  REQUIRE(run.host.snapshot(run.base) != run.before);
  run.when_said = [&run] { fs::remove_all(run.vm->dir.path()); };  // while the guest powers down
  const Ended ended = run.keep_with({{milliseconds(20), SIGTERM}});
  CHECK(ended.reason == "the guest powered off");
  CHECK(ended.left.empty());
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("a state that cannot be written ends nothing") {
  Running run("powerdown-ms=20", mib(2));
  fs::create_directory(run.vm->dir.path() / "state.json.new");  // open(2) refuses it, as it would on a full disk
  const Ended ended = run.keep_with({{milliseconds(20), SIGTERM}});
  CHECK(ended.reason == "the guest powered off");
  CHECK(ended.left.empty());
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("a paused guest is let run to power down; one at its end is not waited for") {
  Running run("powerdown-ms=20");
  qmp::stop(run.vm->monitor, std::chrono::seconds(5));
  const Ended ended = run.keep_with({{milliseconds(20), SIGTERM}}, std::chrono::minutes(10));
  CHECK(ended.reason == "the guest powered off");
  CHECK(run.said == std::vector<std::string>{
                        "the VM was paused and runs again, to power down; asked the guest to power down (ACPI)"});
}

TEST_CASE("who pauses it is seen, and state.json says so") {
  Running run;
  std::vector<Phase> phases;
  std::jthread user([&run, &phases] {
    ::qmp::Client client(::qmp::connect_unix(run.vm->dir.path() / "qmp.sock"));
    client.handshake(std::chrono::seconds(5));
    const auto await = [&](Phase phase) {
      for (int i = 0; i < 500 && run.vm->dir.read_state().phase != phase; ++i)
        std::this_thread::sleep_for(milliseconds(10));
      phases.push_back(run.vm->dir.read_state().phase);
    };
    ::qmp::stop(client, std::chrono::seconds(5));
    await(Phase::paused);
    ::qmp::cont(client, std::chrono::seconds(5));
    await(Phase::running);
    kill(run.vm->qemu.pid, SIGTERM);
  });
  run.keep_with({});
  user.join();
  CHECK(phases == std::vector<Phase>{Phase::paused, Phase::running});
}

TEST_CASE("`vmrun kill` tells the keeper, which ends QEMU and knows that it was asked") {
  Running run("ignore-powerdown,ignore-quit,ignore-term");
  const Ended ended = run.keep_with({{milliseconds(20), SIGUSR1}});
  CHECK(ended.how == "killed");
  CHECK(ended.stopped);
  CHECK(run.said == std::vector<std::string>{"killed, as `vmrun kill` asked"});
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("what would stop a keeper, or end it for a word it could not write, is ignored") {
  const Signals signals;
  for (const int number : {SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ, SIGPIPE}) {
    struct sigaction now {};
    sigaction(number, nullptr, &now);
    const bool ignored = now.sa_handler == SIG_IGN;
    CHECK(ignored);
  }
}

TEST_CASE("everything is undone before a word is told to a pipe that nobody reads; last words are kept") {
  Running run("powerdown-ms=0", mib(2));
  int guest[2], out[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, guest) == 0);
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  run.console = guest[0];
  const std::string words = std::string(400'000, 'x') + "Kernel panic: the end\n";
  std::jthread talker([&] {
    for (std::size_t at = 0; at < words.size();) {
      const ssize_t sent =
          send(guest[1], words.data() + at, std::min<std::size_t>(words.size() - at, 4096), MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += static_cast<std::size_t>(sent);
    }
    close(guest[1]);
  });
  bool undone = false;
  std::string console;
  run.when_ended = [&](const Ended& at_end) {
    undone = run.host.snapshot(run.base) == run.before;
    console = at_end.console;
    kill(getpid(), SIGINT);  // or it would wait for a reader, for a while
  };
  const int stdout_before = dup(STDOUT_FILENO);
  dup2(out[1], STDOUT_FILENO);
  const Ended ended = run.keep_with({{milliseconds(300), SIGTERM}});
  dup2(stdout_before, STDOUT_FILENO);
  for (const int fd : {stdout_before, out[0], out[1], guest[0]}) close(fd);
  CHECK(undone);
  CHECK(console.ends_with("Kernel panic: the end\n"));
  CHECK(console.size() <= 2 * last_words_kept);
  CHECK(run.said.back() == "nobody read the end of the console");
}

TEST_CASE("a thread that ends between listing and pinning ends no launch; a planned one does") {
  const Running run("", topology::kib(4), "call_rcu");
  CHECK(run.vm->state.threads.size() >= 2);
  CHECK(std::ranges::all_of(run.vm->state.threads, [](const ThreadRecord& one) {
    return !fakes::read_file("/proc/" + std::to_string(one.tid) + "/comm").starts_with("call_rcu");
  }));
  CHECK_THROWS(Running("", topology::kib(4), "CPU 0"));
}

TEST_CASE("systemd is told what happens, by path and by abstract name") {
  for (const bool abstract : {false, true}) {
    const fakes::TempDir dir;
    const std::string name = abstract ? "@vmrun-test-" + std::to_string(getpid()) : (dir / "notify").string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof address.sun_path - 1);
    if (abstract) address.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())) == 0);
    {
      const fakes::Environment socket_name("NOTIFY_SOCKET", name);
      notify_systemd("READY=1\nSTATUS=VM db runs");
    }
    char bytes[200]{};
    CHECK(recv(fd, bytes, sizeof bytes - 1, MSG_DONTWAIT) > 0);
    CHECK(std::string(bytes) == "READY=1\nSTATUS=VM db runs");
    close(fd);
  }
  notify_systemd("nobody listens");
  const fakes::Environment long_name("NOTIFY_SOCKET", std::string(500, 'x'));
  notify_systemd("no such socket");
}

TEST_CASE("the watchdog is fed while QEMU answers") {
  const fakes::TempDir dir;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = dir / "notify";
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  Running run("powerdown-ms=0");
  {
    const fakes::Environment socket_name("NOTIFY_SOCKET", name);
    const fakes::Environment period("WATCHDOG_USEC", "100000");
    CHECK(run.keep_with({{milliseconds(300), SIGTERM}}).stopped);
  }
  int fed = 0, stopping = 0;
  char bytes[200];
  for (ssize_t size; (size = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) {
    const std::string text(bytes, static_cast<std::size_t>(size));
    fed += text == "WATCHDOG=1" ? 1 : 0;
    stopping += text == "STOPPING=1" ? 1 : 0;
  }
  CHECK(fed >= 3);
  CHECK(stopping == 1);
  close(fd);
}

TEST_CASE("the watchdog asks whether QEMU lives, not whether it is quick") {
  const fakes::TempDir dir;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = dir / "notify";
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  Running run;
  kill(run.vm->qemu.pid, SIGSTOP);  // answers nobody, as with its storage stalled
  {
    const fakes::Environment socket_name("NOTIFY_SOCKET", name);
    const fakes::Environment period("WATCHDOG_USEC", "100000");
    run.keep_with({{milliseconds(400), SIGUSR1}});
  }
  int fed = 0;
  char bytes[200];
  for (ssize_t size; (size = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
    fed += std::string(bytes, static_cast<std::size_t>(size)) == "WATCHDOG=1" ? 1 : 0;
  CHECK(fed >= 3);
  close(fd);
}
