// While the VM lives: how its end is told, how it is stopped rung by rung, its console, and that everything is undone.
#include "launcher/life/keep.hpp"

#include <doctest/doctest.h>
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

#include "launcher/life/pin.hpp"
#include "launcher/spec/read_spec.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

// A VM that runs: no pages, no devices, a fake QEMU.
struct Running {
  fakes::TempDir dir;
  fs::path base = dir / "run";
  fakes::FakeHost host{dir / "host"};
  topology::HostTopology machine =
      topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts/rocky-2s.json").string()).value();
  std::string before;
  std::vector<std::string> said;
  std::optional<RunningVm> vm;
  std::chrono::milliseconds lasted{};  // the last keep()

  explicit Running(const std::string& behaviour = "") {
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
                .config = {}};
    fs::create_directories(base);
    before = host.snapshot(base);
    Spec spec;
    spec.name = "db";
    spec.cpu.count = 2;
    spec.memory.size = topology::mib(256);
    spec.memory.page = topology::kib(4);
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
    options.say = [this](const std::string& text) { said.push_back(text); };
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
  CHECK(run.host.pinned(recovery) == run.vm->plan.placement.emulator);
  CHECK(run.host.snapshot(run.base) == run.before);
}

TEST_CASE("Ctrl-C asks the guest to power down, and it does") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
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
