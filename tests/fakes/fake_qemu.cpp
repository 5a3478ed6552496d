// An executable that is to vmrun what QEMU is: it takes the same arguments, starts real threads with QEMU's names, and
// answers QMP; or it misbehaves, as FAKE_QEMU says (fake_qemu_options.hpp). It runs no guest. Kept apart from qmp/:
// what is under test there is not used here.
#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/fake_qemu_answers.hpp"
#include "tests/fakes/fake_qemu_options.hpp"

namespace fake_qemu {
namespace {

namespace json = boost::json;
using namespace std::string_literals;
using Clock = std::chrono::steady_clock;

[[noreturn]] void leave(int code, const std::string& message = "") {
  if (!message.empty()) std::fprintf(stderr, "qemu-system-x86_64: %s\n", message.c_str());
  std::fflush(nullptr);
  ::_exit(code);  // with all threads, whatever they do
}

// A thread that sleeps until the process ends; returns its id once it has its name.
pid_t start_thread(const std::string& name) {
  std::promise<pid_t> id;
  std::future<pid_t> known = id.get_future();
  std::thread([name, id = std::move(id)]() mutable {
    ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
    id.set_value(::gettid());
    while (true) ::pause();
  }).detach();
  return known.get();
}

// Lines without end, as a guest may have QEMU write them; none of them is given up for a full pipe.
void talk(long long bytes) {
  std::string lines;
  while (lines.size() < 65536) lines += "qemu-system-x86_64: warning: the guest did it again\n";
  const auto say = [](const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t some = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
      if (some > 0) done += static_cast<std::size_t>(some);
      if (some < 0) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  };
  say("my first words\n");
  for (; bytes > 0; bytes -= static_cast<long long>(lines.size())) say(lines);
  say("that was all\n");
}

struct Connection {
  int fd = -1;
  std::string received;
  bool negotiated = false;
};

// A -qmp: the socketpair end it was given, or the client its listener has accepted last (one at a time, as in QEMU).
struct Server {
  int listener = -1;
  std::optional<Connection> client;
};

class Machine {
 public:
  Machine(Options options, Behaviour behaviour);
  [[noreturn]] void serve(int signals);

 private:
  bool does(const std::string& word) const { return behaviour_.contains(word); }
  void connected(Server& server, int fd);
  void greet(Server& server);
  void receive(Server& server);
  void answer(Server& server, const std::string& line);
  json::object execute(const std::string& command, const json::object& arguments);
  json::object change_run_state(const std::string& state, const char* event);
  json::array cpus() const;
  json::array iothreads() const;
  void flood(Server& server);
  void send(Server& server, const std::string& text);
  void send_event(const char* name, json::object data = {});
  [[noreturn]] void shut_down(bool by_guest, const char* reason);

  Options options_;
  Behaviour behaviour_;
  std::list<Server> servers_;
  std::vector<pid_t> vcpus_, iothreads_;
  std::string state_;
  std::optional<Clock::time_point> powers_down_at_;
  bool quitting_ = false;
  bool flooded_ = false;
};

Machine::Machine(Options options, Behaviour behaviour)
    : options_(std::move(options)),
      behaviour_(std::move(behaviour)),
      state_(options_.paused ? "prelaunch" : "running") {
  start_thread("call_rcu");
  if (!options_.monitors.empty()) start_thread("IO mon_iothread");
  for (const std::string& id : options_.thread_contexts) start_thread("TC " + id);
  for (const std::string& id : options_.iothreads) iothreads_.push_back(start_thread("IO " + id));
  for (unsigned i = 0; i < options_.vhost_workers; ++i) start_thread("vhost-" + std::to_string(::getpid()));
  for (unsigned i = 0; i < options_.vcpus; ++i) {
    vcpus_.push_back(start_thread("CPU " + std::to_string(i) + (options_.kvm ? "/KVM" : "/TCG")));
  }
  for (const Monitor& monitor : options_.monitors) {
    Server& server = servers_.emplace_back();
    if (monitor.listening) {
      server.listener = monitor.fd;
    } else {
      connected(server, monitor.fd);
    }
  }
}

void Machine::serve(int signals) {
  while (true) {
    std::vector<pollfd> fds{{signals, POLLIN, 0}};
    for (const Server& server : servers_)
      fds.push_back({server.client ? server.client->fd : server.listener, POLLIN, 0});
    int timeout = -1;
    if (powers_down_at_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*powers_down_at_ - Clock::now()).count();
      if (left <= 0) shut_down(true, "guest-shutdown");
      timeout = static_cast<int>(left);
    }
    if (::poll(fds.data(), fds.size(), timeout) <= 0) continue;
    if (fds[0].revents) {
      signalfd_siginfo info{};
      if (::read(signals, &info, sizeof info) > 0 && !does("ignore-term")) shut_down(false, "host-signal");
    }
    std::size_t i = 1;
    for (Server& server : servers_) {
      if (!fds[i++].revents) continue;
      if (server.client) {
        receive(server);
      } else if (const int fd = ::accept4(server.listener, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0) {
        connected(server, fd);
      }
    }
    if (quitting_) shut_down(false, "host-qmp-quit");
  }
}

void Machine::connected(Server& server, int fd) {
  const timeval patience{.tv_sec = 2, .tv_usec = 0};  // a client that does not read must not hold us for ever
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  server.client = Connection{fd, "", false};
  greet(server);
}

void Machine::greet(Server& server) {
  const std::string greeting =
      json::serialize(json::object{{"QMP", {{"version", version()}, {"capabilities", json::array{"oob"}}}}}) + "\r\n";
  if (does("silence")) return;
  if (does("garbage")) {
    send(server, "\0\xff\xfe\x01 not QMP {{{[[\n"s);
  } else if (does("huge-line")) {
    send(server, std::string(10u << 20, 'x') + "\n");
  } else if (does("half-line")) {
    send(server, greeting.substr(0, greeting.size() / 2));
    if (server.client) ::close(server.client->fd);
    server.client.reset();
  } else {
    send(server, greeting);
    if (does("exit-after-greeting")) leave(1, "-device foo: 'foo' is not a valid device model name");
  }
}

void Machine::receive(Server& server) {
  char bytes[4096];
  const ssize_t size = ::recv(server.client->fd, bytes, sizeof bytes, 0);
  if (size < 0 && errno == EINTR) return;
  if (size <= 0) {
    ::close(server.client->fd);
    server.client.reset();
    return;
  }
  server.client->received.append(bytes, static_cast<std::size_t>(size));
  while (server.client) {
    std::string& received = server.client->received;
    const std::size_t newline = received.find('\n');
    if (newline == std::string::npos) return;
    const std::string line = received.substr(0, newline);
    received.erase(0, newline + 1);
    if (!does("silence")) answer(server, line);
  }
}

json::object refusal(const std::string& error_class, const std::string& description) {
  return {{"error", {{"class", error_class}, {"desc", description}}}};
}

void Machine::answer(Server& server, const std::string& line) {
  json::error_code error;
  const json::value value = json::parse(line, error);
  const json::object* message = value.if_object();
  const json::value* execute_ = message ? message->if_contains("execute") : nullptr;
  if (error || !execute_ || !execute_->is_string()) {
    send(server, json::serialize(refusal("GenericError", "JSON parse error or no 'execute'")) + "\r\n");
    return;
  }
  const std::string command(execute_->get_string());
  json::object reply;
  if (command == "qmp_capabilities" && !server.client->negotiated) {
    server.client->negotiated = true;
    reply["return"] = json::object();
  } else if (!server.client->negotiated) {
    reply = refusal("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
  } else {
    if (does("event-flood") && !flooded_) flood(server);
    const json::value* arguments = message->if_contains("arguments");
    reply = execute(command, arguments && arguments->is_object() ? arguments->get_object() : json::object());
  }
  if (const json::value* id = message->if_contains("id")) {
    const bool wrong = does("wrong-id") && (behaviour_["wrong-id"].empty() || behaviour_["wrong-id"] == command);
    reply["id"] = wrong ? json::value(777777) : *id;
  }
  if (does("slow")) std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(behaviour_["slow"])));
  send(server, json::serialize(reply) + "\r\n");
  if (does("die-after") && behaviour_["die-after"] == command) leave(1, "fake: told to die after " + command);
}

json::object Machine::execute(const std::string& command, const json::object& arguments) {
  json::value result = json::object();
  if (command == "query-cpus-fast") {
    result = cpus();
  } else if (command == "query-iothreads") {
    result = iothreads();
  } else if (command == "query-status") {
    result = json::object{{"status", state_}, {"singlestep", false}, {"running", state_ == "running"}};
  } else if (command == "query-kvm") {
    result = json::object{{"enabled", options_.kvm}, {"present", true}};
  } else if (command == "query-name") {
    result = json::object{{"name", options_.name}};
  } else if (command == "query-version") {
    result = version();
  } else if (command == "query-machines") {
    result = machines();
  } else if (command == "query-cpu-definitions") {
    result = cpu_models();
  } else if (command == "query-cpu-model-expansion") {
    result = cpu_expansion();
  } else if (command == "qom-get") {
    // a CPU has what its command line says, but never the feature that FAKE_QEMU=lacks=NAME names
    const std::string property(arguments.at("property").as_string());
    result = options_.cpu.find("," + property + "=on") != std::string::npos && behaviour_["lacks"] != property;
  } else if (command == "query-qmp-schema") {
    result = schema();
  } else if (command == "qom-list-types") {
    result = types();
  } else if (command == "device-list-properties" || command == "qom-list-properties") {
    const json::value* type = arguments.if_contains("typename");
    if (!type || !type->is_string()) return refusal("GenericError", "Parameter 'typename' is missing");
    const std::string name(type->get_string());
    std::optional<json::array> properties = properties_of(name);
    if (!properties) return refusal("DeviceNotFound", "Device '" + name + "' not found");
    result = std::move(*properties);
  } else if (command == "cont") {
    if (does("talks")) std::thread(talk, std::stoll(behaviour_.at("talks"))).detach();
    if (does("late-recovery")) {
      const std::chrono::milliseconds after(std::stoi(behaviour_.at("late-recovery")));
      std::thread([after] {
        std::this_thread::sleep_for(after);
        start_thread("kvm-nx-lpage-recovery");
      }).detach();
    }
    return change_run_state("running", "RESUME");
  } else if (command == "stop") {
    return change_run_state("paused", "STOP");
  } else if (command == "system_reset") {
    send_event("RESET", {{"guest", false}, {"reason", "host-qmp-system-reset"}});
  } else if (command == "system_powerdown") {
    send_event("POWERDOWN");
    if (!does("ignore-powerdown") && state_ == "running") {  // a guest that does not run cannot react
      powers_down_at_ = Clock::now() + std::chrono::milliseconds(options_.powerdown_ms);
    }
  } else if (command == "quit") {
    quitting_ = !does("ignore-quit");
  } else if (command != "qmp_capabilities") {
    return refusal("CommandNotFound", "The command " + command + " has not been found");
  }
  return {{"return", result}};
}

json::object Machine::change_run_state(const std::string& state, const char* event) {
  if (state_ != state) send_event(event);
  state_ = state;
  return {{"return", json::object()}};
}

json::array Machine::cpus() const {
  json::array list;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    if (does("missing-vcpu") && i + 1 == vcpus_.size()) break;
    list.push_back(json::object{{"cpu-index", i},
                                {"thread-id", vcpus_[i]},
                                {"qom-path", "/machine/unattached/device[" + std::to_string(i) + "]"},
                                {"props", {{"socket-id", 0}, {"core-id", i}, {"thread-id", 0}}},
                                {"target", "x86_64"}});
  }
  if (does("shuffle-vcpus")) std::ranges::reverse(list);
  return list;
}

json::array Machine::iothreads() const {
  json::array list;
  for (std::size_t i = 0; i < iothreads_.size(); ++i) {
    list.push_back(json::object{{"id", options_.iothreads[i]},
                                {"thread-id", iothreads_[i]},
                                {"poll-max-ns", 32768},
                                {"poll-grow", 0},
                                {"poll-shrink", 0},
                                {"aio-max-batch", 0}});
  }
  return list;
}

std::string event_line(const char* name, json::object data) {
  json::object event{{"event", name}};
  if (!data.empty()) event["data"] = std::move(data);
  event["timestamp"] = json::object{{"seconds", 1700000000}, {"microseconds", 0}};
  return json::serialize(event) + "\r\n";
}

void Machine::flood(Server& server) {
  flooded_ = true;
  const std::string& amount = behaviour_["event-flood"];
  const long total = amount.empty() ? 1'000'000 : amount == "forever" ? -1 : std::stol(amount);
  const std::string one =
      event_line("BLOCK_IO_ERROR", {{"device", "disk0"}, {"operation", "read"}, {"reason", "flood"}});
  std::string batch;
  for (int i = 0; i < 100; ++i) batch += one;
  for (long sent = 0; server.client && (total < 0 || sent < total); sent += 100) {
    send(server, total - sent >= 100 || total < 0
                     ? batch
                     : batch.substr(0, one.size() * static_cast<std::size_t>(total - sent)));
  }
}

void Machine::send(Server& server, const std::string& text) {
  for (std::size_t done = 0; server.client && done < text.size();) {
    const ssize_t size = ::send(server.client->fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      ::close(server.client->fd);
      server.client.reset();
      return;
    }
    done += static_cast<std::size_t>(size);
  }
}

void Machine::send_event(const char* name, json::object data) {
  for (Server& server : servers_) {
    if (server.client && server.client->negotiated) send(server, event_line(name, data));
  }
}

void Machine::shut_down(bool by_guest, const char* reason) {
  send_event("SHUTDOWN", {{"guest", by_guest}, {"reason", reason}});
  if (does("talks")) std::fputs("my last words\n", stderr);
  leave(0);
}

}  // namespace
}  // namespace fake_qemu

int main(int argc, char** argv) {
  using namespace fake_qemu;
  try {
    const Behaviour behaviour = read_behaviour(std::getenv("FAKE_QEMU"));
    Options options = read_options({argv + 1, argv + argc});
    if (options.version) {
      std::puts("QEMU emulator version 99.9.9 (fake)");
      return 0;
    }
    if (behaviour.contains("powerdown-ms")) options.powerdown_ms = std::stoi(behaviour.at("powerdown-ms"));
    if (behaviour.contains("early-exit")) leave(1, "-device foo: bad");

    sigset_t ends;  // blocked before the first thread, so that they come by the signalfd and nowhere else
    ::sigemptyset(&ends);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&ends, signal);
    ::sigprocmask(SIG_BLOCK, &ends, nullptr);
    const int signals = ::signalfd(-1, &ends, SFD_CLOEXEC);
    Machine(std::move(options), behaviour).serve(signals);
  } catch (const std::exception& e) {
    leave(1, e.what());
  }
}
