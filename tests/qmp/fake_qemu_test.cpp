// The fake behaves as the real one does, and misbehaves as it is told: what the launcher's tests build on.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "qmp/commands.hpp"
#include "tests/qmp/process.hpp"

using namespace std::chrono_literals;
using qmp::Client;
using qmp_tests::Process;
using qmp_tests::thread_name;
using Kind = qmp::Error::Kind;

namespace {

constexpr auto plenty = 20s;

struct Fake {
  explicit Fake(const std::string& behaviour = "", std::vector<std::string> more = {"-S"})
      : process(VMRUN_FAKE_QEMU, arguments(std::move(more)), {"FAKE_QEMU=" + behaviour}),
        client(process.take_monitor()) {}
  static std::vector<std::string> arguments(std::vector<std::string> more) {
    std::vector<std::string> all{
        "-nodefaults", "-chardev", "socket,id=m,fd=10", "-qmp", "chardev:m", "-smp", "3,sockets=1,cores=3,threads=1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Kind handshake_error(std::chrono::milliseconds deadline = plenty) {
    try {
      client.handshake(deadline);
    } catch (const qmp::Error& e) {
      return e.kind;
    }
    FAIL("the handshake was a success");
    std::abort();
  }
  Process process;
  Client client;
};

}  // namespace

TEST_CASE("fake_qemu: threads with QEMU's names, states and events") {
  Fake fake("", {"-S", "-name", "guest=fake,debug-threads=on", "-object", "iothread,id=io0", "-object",
                 R"({"qom-type":"iothread","id":"io1"})", "-object", "thread-context,id=tc0,node-affinity=0"});
  std::vector<std::string> events;
  fake.client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
  CHECK(fake.client.handshake(plenty).major == 99);
  const pid_t pid = fake.process.pid();
  const std::vector<qmp::Vcpu> vcpus = query_cpus_fast(fake.client, plenty);
  REQUIRE(vcpus.size() == 3);
  for (unsigned i = 0; i < 3; ++i) {
    CHECK(vcpus[i].index == i);
    CHECK(thread_name(pid, vcpus[i].thread) == "CPU " + std::to_string(i) + "/TCG");
  }
  const std::vector<qmp::Iothread> iothreads = query_iothreads(fake.client, plenty);
  REQUIRE(iothreads.size() == 2);
  CHECK(iothreads[1].id == "io1");
  CHECK(thread_name(pid, iothreads[1].thread) == "IO io1");
  std::map<std::string, int> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    ++names[thread_name(pid, std::stoi(task.path().filename()))];
  }
  CHECK(names["call_rcu"] == 1);
  CHECK(names["TC tc0"] == 1);
  CHECK(names["IO mon_iothread"] == 1);

  CHECK(query_status(fake.client, plenty) == "prelaunch");
  cont(fake.client, plenty);
  CHECK(query_status(fake.client, plenty) == "running");
  stop(fake.client, plenty);
  CHECK(query_status(fake.client, plenty) == "paused");
  system_reset(fake.client, plenty);
  CHECK(!query_machines(fake.client, plenty).empty());
  CHECK(query_qmp_schema(fake.client, plenty).is_array());
  CHECK(device_list_properties(fake.client, "virtio-blk-pci", plenty).has_value());
  CHECK(!device_list_properties(fake.client, "no-such-device", plenty).has_value());
  CHECK_THROWS_AS(fake.client.execute({"no-such-command"}, plenty), qmp::Error);
  quit(fake.client, plenty);
  CHECK(fake.process.wait() == 0);
  CHECK_THROWS_AS(fake.client.wait_events(plenty, nullptr), qmp::Error);
  CHECK(events == std::vector<std::string>{"RESUME", "STOP", "RESET", "SHUTDOWN"});
}

TEST_CASE("fake_qemu: power-down takes its time; a paused or stubborn guest takes for ever") {
  Fake fake("", {"--powerdown-ms", "30"});
  fake.client.handshake(plenty);
  std::vector<std::string> events;
  fake.client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
  system_powerdown(fake.client, plenty);
  CHECK(fake.process.wait() == 0);
  CHECK_THROWS_AS(fake.client.wait_events(plenty, nullptr), qmp::Error);
  CHECK(events == std::vector<std::string>{"POWERDOWN", "SHUTDOWN"});

  for (Fake* stubborn : {new Fake("ignore-powerdown", {}), new Fake("", {"-S"})}) {
    stubborn->client.handshake(plenty);
    system_powerdown(stubborn->client, plenty);
    CHECK(!stubborn->client.wait_events(30ms, [](const qmp::Event& event) { return event.name == "SHUTDOWN"; }));
    CHECK(stubborn->process.runs());
    delete stubborn;
  }
}

TEST_CASE("fake_qemu: SIGTERM ends it, unless it ignores that; and so with quit") {
  Fake obedient;
  obedient.client.handshake(plenty);
  ::kill(obedient.process.pid(), SIGTERM);
  CHECK(obedient.process.wait() == 0);

  Fake stubborn("ignore-term,ignore-quit");
  stubborn.client.handshake(plenty);
  ::kill(stubborn.process.pid(), SIGTERM);
  quit(stubborn.client, plenty);
  CHECK(query_status(stubborn.client, plenty) == "prelaunch");
  ::kill(stubborn.process.pid(), SIGKILL);
  CHECK(stubborn.process.wait() == 1000 + SIGKILL);
}

TEST_CASE("fake_qemu: misbehaviour at the handshake") {
  CHECK(Fake("garbage").handshake_error() == Kind::protocol);
  CHECK(Fake("half-line").handshake_error() == Kind::protocol);
  CHECK(Fake("huge-line").handshake_error() == Kind::protocol);
  CHECK(Fake("silence").handshake_error(30ms) == Kind::timeout);
  CHECK(Fake("slow=500").handshake_error(30ms) == Kind::timeout);
  CHECK(Fake("wrong-id").handshake_error() == Kind::protocol);

  Fake early("early-exit");
  CHECK(early.handshake_error() == Kind::disconnected);
  CHECK(early.process.wait() == 1);
  CHECK(early.process.stderr_text() == "qemu-system-x86_64: -device foo: bad\n");
  Fake late("exit-after-greeting");
  CHECK(late.handshake_error() == Kind::disconnected);
  CHECK(late.process.wait() == 1);
  CHECK(late.process.stderr_text().starts_with("qemu-system-x86_64: -device foo"));
}

TEST_CASE("fake_qemu: misbehaviour later") {
  {
    Fake fake("missing-vcpu,shuffle-vcpus");
    fake.client.handshake(plenty);
    const std::vector<qmp::Vcpu> vcpus = query_cpus_fast(fake.client, plenty);
    REQUIRE(vcpus.size() == 2);
    CHECK(vcpus[0].index == 1);
    CHECK(vcpus[1].index == 0);
  }
  {
    Fake fake("wrong-id=cont");
    fake.client.handshake(plenty);
    query_status(fake.client, plenty);
    CHECK_THROWS_AS(cont(fake.client, plenty), qmp::Error);
  }
  {
    Fake fake("die-after=query-cpus-fast");
    fake.client.handshake(plenty);
    query_cpus_fast(fake.client, plenty);
    CHECK(fake.process.wait() == 1);
    CHECK_THROWS_AS(query_status(fake.client, plenty), qmp::Error);
  }
  {
    Fake fake("event-flood=100050");
    std::size_t seen = 0;
    fake.client.on_event([&](const qmp::Event&) { ++seen; });
    fake.client.handshake(plenty);
    CHECK(query_status(fake.client, plenty) == "prelaunch");
    CHECK(seen == 100'050);
  }
  {
    Fake fake("event-flood=forever");
    fake.client.handshake(plenty);
    CHECK_THROWS_AS(query_status(fake.client, 30ms), qmp::Error);
    CHECK(!fake.client.wait_events(0ms, nullptr));
  }
}

TEST_CASE("fake_qemu: what QEMU would refuse") {
  Process no_fd(VMRUN_FAKE_QEMU, {"-add-fd", "fd=77,set=1"});
  CHECK(no_fd.wait() == 1);
  Process no_chardev(VMRUN_FAKE_QEMU, {"-qmp", "chardev:x"});
  CHECK(no_chardev.wait() == 1);
  Process version(VMRUN_FAKE_QEMU, {"--version"});
  CHECK(version.wait() == 0);
  Process unknown(VMRUN_FAKE_QEMU, {}, {"FAKE_QEMU=nonsense"});
  CHECK(unknown.wait() == 1);
}

TEST_CASE("fake_qemu: a listening monitor beside the private one, one client after the other") {
  char directory[] = "/tmp/vmrun-qmp-test-XXXXXX";
  REQUIRE(::mkdtemp(directory));
  const std::string path = std::string(directory) + "/socket";
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);  // inherited
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listener, 1) == 0);
  Fake fake("",
            {"-chardev", "socket,id=p,fd=" + std::to_string(listener) + ",server=on,wait=off", "-qmp", "chardev:p"});
  ::close(listener);
  fake.client.handshake(plenty);
  for (int i = 0; i < 2; ++i) {
    Client other(qmp::connect_unix(path));
    other.handshake(plenty);
    CHECK(query_status(other, plenty) == "running");
    stop(fake.client, plenty);
    if (i == 0) CHECK(other.wait_events(plenty, [](const qmp::Event& event) { return event.name == "STOP"; }));
    cont(other, plenty);
  }
  quit(fake.client, plenty);
  CHECK(fake.process.wait() == 0);
  std::filesystem::remove_all(directory);
}
