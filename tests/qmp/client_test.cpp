#include "qmp/client.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "tests/qmp/peer.hpp"

using namespace std::chrono_literals;
using qmp::Client;
using qmp_tests::Asked;
using qmp_tests::Peer;
using Kind = qmp::Error::Kind;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto plenty = 20s;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer);
#else
constexpr bool sanitized = false;
#endif

// What a call threw.
template <class Call>
qmp::Error error_of(const Call& call) {
  try {
    call();
  } catch (const qmp::Error& e) {
    return e;
  }
  FAIL("no qmp::Error was thrown");
  std::abort();
}

bool mentions(const qmp::Error& error, std::string_view text) {
  const bool found = std::string_view(error.what()).find(text) != std::string_view::npos;
  if (!found) MESSAGE(error.what());
  return found;
}

// Everything but the first disconnects at once.
void check_over(Client& client) {
  CHECK(client.fd() == -1);
  CHECK(error_of([&] { client.execute({"cont"}, plenty); }).kind == Kind::disconnected);
  CHECK(error_of([&] { client.handshake(plenty); }).kind == Kind::disconnected);
  CHECK(error_of([&] { client.wait_events(plenty, nullptr); }).kind == Kind::disconnected);
}

bool readable(int fd, int timeout_ms = 0) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) == 1;
}

long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long pages = 0;
  file >> pages >> pages;
  return pages * (::sysconf(_SC_PAGESIZE) / 1024);
}

}  // namespace

TEST_CASE("handshake, commands with ascending ids, events in order") {
  std::vector<Asked> asked;
  std::vector<std::string> events;
  {
    Peer peer([&](Peer::End& qemu) {
      qemu.send(qmp_tests::greeting_line);
      while (std::optional<Asked> command = qemu.asked()) {
        asked.push_back(*command);
        qemu.event(command->command + "-before", R"({"n": 1})");
        qemu.send(R"({"return": ")" + command->command + R"(", "id": )" + std::to_string(command->id) +
                  "}\r\n{\"event\": \"" + command->command + "-after\"}\r\n");  // in one piece: read together
      }
    });
    Client client(peer.take());
    client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
    const qmp::Greeting greeting = client.handshake(plenty);
    CHECK(greeting.major == 7);
    CHECK(greeting.package == "Debian");
    CHECK(client.execute({"query-status"}, plenty).as_string() == "query-status");
    CHECK(client.execute({"qom-get", {{"path", "/"}}}, plenty).as_string() == "qom-get");
    client.wait_events(1s, [](const qmp::Event& event) { return event.name == "qom-get-after"; });
  }
  REQUIRE(asked.size() == 3);
  CHECK(asked[0].command == "qmp_capabilities");
  CHECK(asked[2].arguments.at("path").as_string() == "/");
  CHECK(asked[0].id < asked[1].id);
  CHECK(asked[1].id < asked[2].id);
  CHECK(events == std::vector<std::string>{"qmp_capabilities-before", "qmp_capabilities-after", "query-status-before",
                                           "query-status-after", "qom-get-before", "qom-get-after"});
}

TEST_CASE(
    "what was sent ahead is there before the greeting, and is answered when it is asked for, once, in any order") {
  std::vector<Asked> asked;
  Peer peer([&](Peer::End& qemu) {
    for (int i = 0; i < 4; ++i) asked.push_back(qemu.asked().value());
    qemu.send(qmp_tests::greeting_line);
    qemu.reply(asked[0].id, "{}");
    qemu.reply(asked[1].id, "1");
    qemu.event("STOP");
    qemu.refuse(asked[2].id, "GenericError", "no");
    qemu.reply(asked[3].id, "3");
    asked.push_back(qemu.asked().value());
    qemu.reply(asked[4].id, "4");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  int events = 0;
  client.on_event([&](const qmp::Event&) { ++events; });
  client.send_ahead({{"qmp_capabilities"}, {"a"}, {"b"}, {"a", {{"path", "/"}}}}, plenty);
  client.handshake(plenty);
  CHECK(client.execute({"a", {{"path", "/"}}}, plenty) == 3);
  CHECK(events == 1);
  const qmp::Error refused = error_of([&] { client.execute({"b"}, plenty); });
  CHECK(refused.kind == Kind::refused);
  CHECK(client.execute({"a"}, plenty) == 1);
  CHECK(client.execute({"a"}, plenty) == 4);  // and no other time
  CHECK(asked[4].command == "a");
}

TEST_CASE("EOF and silence after what was sent ahead") {
  {
    Peer peer([](Peer::End& qemu) {
      qemu.handshake();
      qemu.hang_up();
    });
    Client client(peer.take());
    client.send_ahead({{"qmp_capabilities"}, {"a"}}, plenty);
    client.handshake(plenty);
    CHECK(error_of([&] { client.execute({"a"}, plenty); }).kind == Kind::disconnected);
    check_over(client);
  }
  std::uint64_t late = 0;
  Peer peer([&late](Peer::End& qemu) {
    qemu.handshake();
    late = qemu.asked().value().id;
    const Asked next = qemu.asked().value();
    qemu.reply(late, "1");
    qemu.reply(next.id, "2");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.send_ahead({{"qmp_capabilities"}, {"a"}}, plenty);
  client.handshake(plenty);
  CHECK(error_of([&] { client.execute({"a"}, 10ms); }).kind == Kind::timeout);
  CHECK(client.execute({"b"}, plenty) == 2);
}

TEST_CASE("a refusal has QEMU's words and class; the connection goes on") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    qemu.refuse(qemu.asked()->id, "DeviceNotFound", "Device 'foo' not found");
    qemu.reply(qemu.asked()->id, "1");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  const qmp::Error error = error_of([&] { client.execute({"device_del"}, plenty); });
  CHECK(error.kind == Kind::refused);
  CHECK(error.error_class == "DeviceNotFound");
  CHECK(mentions(error, "QEMU refused 'device_del': Device 'foo' not found"));
  CHECK(client.execute({"x"}, plenty).as_int64() == 1);
}

TEST_CASE("a refusal without an id is that of the command in the air") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    qemu.asked();
    qemu.send("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\r\n");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  CHECK(error_of([&] { client.execute({"x"}, plenty); }).kind == Kind::refused);
}

TEST_CASE("up is the reply to qmp_capabilities, not the greeting") {
  SUBCASE("exit after the greeting") {
    Peer peer([](Peer::End& qemu) { qemu.send(qmp_tests::greeting_line); });
    Client client(peer.take());
    const qmp::Error error = error_of([&] { client.handshake(plenty); });
    CHECK(error.kind == Kind::disconnected);
    CHECK(mentions(error, "QEMU closed its monitor before the reply to 'qmp_capabilities'"));
    check_over(client);
  }
  SUBCASE("exit before it") {
    Peer peer([](Peer::End&) {});
    Client client(peer.take());
    const qmp::Error error = error_of([&] { client.handshake(plenty); });
    CHECK(error.kind == Kind::disconnected);
    CHECK(mentions(error, "before QEMU's greeting"));
    check_over(client);
  }
}

TEST_CASE("what is no QMP is a protocol error that shows it, and the end") {
  struct Case {
    std::string sent;
    std::string shown;
  };
  const Case cases[] = {
      {"qemu: hello\n", "\"qemu: hello\""},
      {std::string("\0\xff\x01 {{[\n", 8), R"("\x00\xff\x01 {{[)"},
      {"\n", "\"\""},
      {"{\"return\": {}, \"id\": \"x\"}\n", "an id that is not"},
      {R"({"QMP": {"version": )", R"(ended within a line: "{"QMP": {"version": ")"},  // half a line, then EOF
      {std::string(500, 'z') + "\n", std::string(80, 'z') + "\"... (500 bytes)"},
      {std::string(10u << 20, 'y'),
       "a line of more than 8388608 bytes, beginning with \"" + std::string(80, 'y') + '"'},
      {std::string(10u << 20, 'y') + "\n", "a line of more than 8388608 bytes"},
      {std::string(qmp_tests::greeting_line) + std::string(qmp_tests::greeting_line), "greeted a second time"},
  };
  for (const Case& c : cases) {
    Peer peer([&](Peer::End& qemu) { qemu.send(c.sent); });
    Client client(peer.take());
    const qmp::Error error = error_of([&] { client.handshake(plenty); });
    CHECK(error.kind == Kind::protocol);
    CHECK(mentions(error, c.shown));
    check_over(client);
  }
}

TEST_CASE("a reply with a wrong id is a protocol error") {
  for (const int off : {-1, 1, 1000}) {
    Peer peer([&](Peer::End& qemu) {
      qemu.handshake();
      if (const auto command = qemu.asked()) qemu.reply(command->id + static_cast<std::uint64_t>(off), "{}");
      qemu.wait_for_eof();
    });
    Client client(peer.take());
    client.handshake(plenty);
    const qmp::Error error = error_of([&] { client.execute({"cont"}, plenty); });
    CHECK(error.kind == Kind::protocol);
    CHECK(mentions(error, "where 2 was awaited"));
    check_over(client);
  }
}

TEST_CASE("silence, half a line and a stream of events are timeouts") {
  struct Case {
    const char* name;
    std::function<void(Peer::End&)> say;
    const char* shown;
  };
  const Case cases[] = {
      {"silence", [](Peer::End&) {}, "the reply to 'cont' did not come within 50 ms"},
      {"half a line", [](Peer::End& qemu) { qemu.send(R"({"return":)"); }, R"(only this has: "{"return":")"},
      {"events",
       [](Peer::End& qemu) {
         while (qemu.send("{\"event\": \"FLOOD\"}\r\n")) {
         }
       },
       "did not come within 50 ms"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Peer peer([&](Peer::End& qemu) {
      qemu.handshake();
      qemu.asked();
      c.say(qemu);
      qemu.wait_for_eof();
    });
    Client client(peer.take());
    client.handshake(plenty);
    const auto start = Clock::now();
    const qmp::Error error = error_of([&] { client.execute({"cont"}, 50ms); });
    CHECK(Clock::now() - start >= 50ms);
    CHECK(Clock::now() - start < 5s);  // loose: the machine may be busy; without a deadline it would be for ever
    CHECK(error.kind == Kind::timeout);
    CHECK(mentions(error, c.shown));
    CHECK(client.fd() >= 0);
  }
}

TEST_CASE("no greeting is a timeout too, and the handshake can be tried again") {
  std::atomic<bool> speak{false};
  Peer peer([&](Peer::End& qemu) {
    while (!speak) std::this_thread::sleep_for(1ms);
    qemu.handshake();
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  const qmp::Error error = error_of([&] { client.handshake(20ms); });
  CHECK(error.kind == Kind::timeout);
  CHECK(mentions(error, "QEMU's greeting did not come within 20 ms"));
  speak = true;
  CHECK(client.handshake(plenty).major == 7);
}

TEST_CASE("after a timeout the late reply is not taken for the next command's") {
  std::atomic<bool> speak{false};
  Peer peer([&](Peer::End& qemu) {
    qemu.handshake();
    const auto first = qemu.asked();
    const auto second = qemu.asked();
    while (!speak) std::this_thread::sleep_for(1ms);
    qemu.reply(first->id, R"("late")");
    qemu.refuse(second->id, "GenericError", "late too");
    while (const auto later = qemu.asked()) qemu.reply(later->id, '"' + later->command + '"');
  });
  Client client(peer.take());
  client.handshake(plenty);
  CHECK(error_of([&] { client.execute({"first"}, 20ms); }).kind == Kind::timeout);
  CHECK(error_of([&] { client.execute({"second"}, 0ms); }).kind == Kind::timeout);
  speak = true;
  SUBCASE("dropped while the next command waits") {}
  SUBCASE("dropped while waiting for events") { client.wait_events(200ms, nullptr); }
  CHECK(client.execute({"third"}, plenty).as_string() == "third");
  CHECK(client.execute({"fourth"}, plenty).as_string() == "fourth");
}

TEST_CASE("a late reply is believed once only") {
  Peer peer([&](Peer::End& qemu) {
    qemu.handshake();
    const auto first = qemu.asked();
    const auto second = qemu.asked();
    qemu.reply(first->id, "1");
    qemu.reply(first->id, "1");
    qemu.reply(second->id, "2");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  CHECK(error_of([&] { client.execute({"first"}, 0ms); }).kind == Kind::timeout);
  CHECK(error_of([&] { client.execute({"second"}, plenty); }).kind == Kind::protocol);
}

TEST_CASE("a guest's agent may answer late what another client asked") {
  Peer peer([&](Peer::End& agent) {
    const auto first = agent.asked();
    agent.send("ading\": 1}, \"id\": 1}\r\n");
    agent.reply(1, "\"for another\"");
    agent.reply(first->id, "\"for us\"");
    const auto second = agent.asked();
    agent.reply(1, "\"for another\"");
    agent.reply(2, "\"for a third\"");
    agent.reply(second->id, "\"for us, too\"");
    agent.wait_for_eof();
  });
  Client client(peer.take());
  CHECK(client.execute({"guest-ping"}, plenty) == "for us");
  CHECK(client.execute({"guest-info"}, plenty) == "for us, too");
}

TEST_CASE("a reply that nobody asked for is a protocol error") {
  std::atomic<bool> speak{false};
  Peer peer([&](Peer::End& qemu) {
    qemu.handshake();
    while (!speak) std::this_thread::sleep_for(1ms);
    qemu.reply(1, "{}");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  speak = true;
  CHECK(error_of([&] { client.wait_events(plenty, nullptr); }).kind == Kind::protocol);
}

TEST_CASE("EOF while a command waits, after what was said before it") {
  std::vector<std::string> events;
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    qemu.asked();
    qemu.event("SHUTDOWN");
  });
  Client client(peer.take());
  client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
  client.handshake(plenty);
  CHECK(error_of([&] { client.execute({"cont"}, plenty); }).kind == Kind::disconnected);
  CHECK(events == std::vector<std::string>{"SHUTDOWN"});
  check_over(client);
}

TEST_CASE("a command to a peer that is gone: no SIGPIPE, its last words are read, then disconnected") {
  std::vector<std::string> events;
  std::atomic<bool> speak{false};
  std::atomic<bool> gone{false};
  Peer peer([&](Peer::End& qemu) {
    qemu.handshake();
    while (!speak) std::this_thread::sleep_for(1ms);
    qemu.event("SHUTDOWN");
    qemu.hang_up();
    gone = true;
  });
  Client client(peer.take());
  client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
  client.handshake(plenty);
  speak = true;
  while (!gone) std::this_thread::sleep_for(1ms);
  CHECK(error_of([&] { client.execute({"cont"}, plenty); }).kind == Kind::disconnected);
  CHECK(events == std::vector<std::string>{"SHUTDOWN"});
}

TEST_CASE("a peer that reads nothing: a command that does not fit times out, and half a command is the end") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    while (qemu.send("{\"event\": \"X\"}\r\n")) std::this_thread::sleep_for(5ms);
  });
  Client client(peer.take());
  client.handshake(plenty);
  const qmp::Error error = error_of([&] { client.execute({"x", {{"long", std::string(4u << 20, 'a')}}}, 50ms); });
  CHECK(error.kind == Kind::timeout);
  CHECK(mentions(error, "did not take a whole command"));
  check_over(client);
}

TEST_CASE("a long command and a long reply go through") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    const auto command = qemu.asked();
    qemu.reply(command->id, '"' + std::string(command->arguments.at("long").as_string()) + '"');
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  const std::string text(2u << 20, 'a');
  CHECK(client.execute({"x", {{"long", text}}}, plenty).as_string() == text);
}

TEST_CASE("a million events: all are seen, no memory is kept, the reply behind them arrives") {
  std::size_t seen = 0;
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    const auto command = qemu.asked();
    std::string batch;
    for (int i = 0; i < 1000; ++i)
      batch += "{\"event\": \"FLOOD\", \"data\": {\"device\": \"disk0\", \"operation\": \"read\"}}\r\n";
    for (int i = 0; i < 1000; ++i) qemu.send(batch);
    qemu.reply(command->id, "{}");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  client.on_event([&](const qmp::Event&) { ++seen; });
  const long before = resident_kib();
  client.execute({"cont"}, std::chrono::milliseconds::max());
  CHECK(seen == 1'000'000);
  const long grown = resident_kib() - before;
  if (!sanitized) CHECK(grown < 16 * 1024);  // AddressSanitizer keeps what is freed
}

TEST_CASE("wait_events with 0 takes what is there, and poll on fd() tells when there is more") {
  std::atomic<int> say{0};
  std::vector<std::string> events;
  Peer peer([&](Peer::End& qemu) {
    qemu.handshake();
    while (say < 1) std::this_thread::sleep_for(1ms);
    qemu.send("{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n{\"event\": \"C\"}\r\n{\"ev");
    while (say < 2) std::this_thread::sleep_for(1ms);
    qemu.send("ent\": \"D\"}\r\n");
    while (say < 3) std::this_thread::sleep_for(1ms);
  });
  Client client(peer.take());
  client.handshake(plenty);
  client.on_event([&](const qmp::Event& event) { events.push_back(event.name); });
  CHECK(!readable(client.fd()));
  CHECK(!client.wait_events(0ms, nullptr));
  CHECK(events.empty());

  say = 1;
  REQUIRE(readable(client.fd(), 20'000));
  // B ends the wait, but C was read with it: nothing complete stays behind.
  CHECK(client.wait_events(0ms, [](const qmp::Event& event) { return event.name == "B"; }));
  CHECK(events == std::vector<std::string>{"A", "B", "C"});
  CHECK(!readable(client.fd()));

  say = 2;
  REQUIRE(readable(client.fd(), 20'000));
  CHECK(!client.wait_events(0ms, nullptr));
  CHECK(events.back() == "D");

  say = 3;
  REQUIRE(readable(client.fd(), 20'000));
  CHECK(error_of([&] { client.wait_events(0ms, nullptr); }).kind == Kind::disconnected);
  check_over(client);
}

TEST_CASE("wait_events with 0 drains a full socket and returns in spite of a flood") {
  std::size_t seen = 0;
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    while (qemu.send("{\"event\": \"FLOOD\", \"data\": {\"x\": 1}}\r\n")) {
    }
  });
  Client client(peer.take());
  client.handshake(plenty);
  client.on_event([&](const qmp::Event&) { ++seen; });
  REQUIRE(readable(client.fd(), 20'000));
  for (int i = 0; i < 3; ++i) CHECK(!client.wait_events(0ms, nullptr));
  CHECK(seen > 0);
}

TEST_CASE("events that come faster than they are handled do not hold a call beyond its deadline") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    const std::string event = R"({"event": "FLOOD", "data": {"x": ")" + std::string(64u << 10, 'x') + "\"}}\r\n";
    while (qemu.send(event)) {
    }
  });
  Client client(peer.take());
  client.handshake(plenty);
  client.on_event([](const qmp::Event&) { std::this_thread::sleep_for(2ms); });
  REQUIRE(readable(client.fd(), 20'000));
  CHECK(!client.wait_events(0ms, nullptr));
  CHECK(!client.wait_events(50ms, nullptr));
  CHECK(error_of([&] { client.execute({"cont"}, 50ms); }).kind == Kind::timeout);
}

TEST_CASE("wait_events returns at its deadline, and not before") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    qemu.event("A");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  const auto start = Clock::now();
  CHECK(!client.wait_events(50ms, [](const qmp::Event&) { return false; }));
  CHECK(Clock::now() - start >= 50ms);
  CHECK(!client.wait_events(-1s, nullptr));
}

TEST_CASE("a handler that throws leaves a usable client") {
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    const auto first = qemu.asked();
    qemu.event("BOOM");
    const auto second = qemu.asked();
    qemu.reply(first->id, "1");
    qemu.reply(second->id, "2");
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  client.handshake(plenty);
  client.on_event([](const qmp::Event&) { throw std::runtime_error("handler"); });
  CHECK_THROWS_WITH_AS(client.execute({"first"}, plenty), "handler", std::runtime_error);
  client.on_event(nullptr);
  CHECK(client.execute({"second"}, plenty).as_int64() == 2);
}

TEST_CASE("on_idle is called while nothing comes, and its exception ends the wait, not the client") {
  std::atomic<bool> speak{false};
  Peer peer([&](Peer::End& qemu) {
    while (!speak) std::this_thread::sleep_for(1ms);
    qemu.handshake();
    qemu.wait_for_eof();
  });
  Client client(peer.take());
  int calls = 0;
  client.on_idle([&] {
    if (++calls == 2) throw std::runtime_error("idle");
  });
  CHECK_THROWS_WITH_AS(client.handshake(plenty), "idle", std::runtime_error);
  CHECK(calls == 2);
  client.on_idle([&] { speak = true; });
  CHECK(client.handshake(plenty).major == 7);
}

TEST_CASE("a client can be moved, and closes its fd") {
  int fd = -1;
  {
    Peer peer([](Peer::End& qemu) {
      qemu.handshake();
      qemu.wait_for_eof();
    });
    fd = peer.take();
    Client first(fd);
    Client second(std::move(first));
    CHECK(second.fd() == fd);
    CHECK(second.handshake(plenty).major == 7);
  }
  CHECK(::fcntl(fd, F_GETFD) == -1);
}

TEST_CASE("handshake and three commands cost next to nothing") {
  const auto cpu_us = [] {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_utime.tv_sec * 1'000'000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1'000'000 +
           usage.ru_stime.tv_usec;
  };
  Peer peer([](Peer::End& qemu) {
    qemu.handshake();
    while (const auto command = qemu.asked()) qemu.reply(command->id, "{}");
  });
  const auto start = cpu_us();
  Client client(peer.take());
  client.handshake(plenty);
  for (int i = 0; i < 3; ++i) client.execute({"query-status"}, plenty);
  const auto spent = cpu_us() - start;
  MESSAGE("CPU time of handshake and 3 commands: " << spent << " us");
  CHECK(spent < 50'000);  // loose, for sanitizers; the budget is 3 ms
}

TEST_CASE("connect_unix") {
  char directory[] = "/tmp/vmrun-qmp-test-XXXXXX";
  REQUIRE(::mkdtemp(directory));
  const std::string path = std::string(directory) + "/socket";
  const auto code_of = [](const std::string& to) {
    try {
      ::close(qmp::connect_unix(to));
    } catch (const std::system_error& e) {
      return e.code().value();
    }
    return 0;
  };
  CHECK(code_of(path) == ENOENT);
  CHECK(code_of("") == ENOENT);
  CHECK(code_of(std::string(200, 'x')) == ENAMETOOLONG);

  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(code_of(path) == ECONNREFUSED);
  REQUIRE(::listen(listener, 1) == 0);
  const int fd = qmp::connect_unix(path);
  CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  const int accepted = ::accept(listener, nullptr, nullptr);
  CHECK(::send(accepted, qmp_tests::greeting_line.data(), qmp_tests::greeting_line.size(), MSG_NOSIGNAL) > 0);
  ::close(accepted);
  Client client(fd);
  CHECK(error_of([&] { client.handshake(plenty); }).kind == Kind::disconnected);
  ::close(listener);
  std::filesystem::remove_all(directory);
}
