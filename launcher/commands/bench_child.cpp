// Where a measured command runs: as a child of ours, or in the guest by its agent.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>
#include <thread>

#include "launcher/commands/bench.hpp"
#include "launcher/commands/commands.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/guest/agent.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "launcher/life/signals.hpp"
#include "qmp/client.hpp"

extern char** environ;

namespace launcher::commands {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t most_output = 64 << 20;

// A child of ours begins in / and with a PATH of its own; a person's command wants theirs.
ChildSpec spec_of(const Child& child) {
  ChildSpec spec;
  const char* path = std::getenv("PATH");
  spec.argv = {"/bin/sh",
               "-c",
               "cd \"$1\" && PATH=$2 && export PATH && shift 2 && exec \"$@\"",
               "sh",
               std::filesystem::current_path().string(),
               path != nullptr ? path : "/usr/bin:/bin"};
  spec.argv.insert(spec.argv.end(), child.argv.begin(), child.argv.end());
  for (char** variable = environ; *variable != nullptr; ++variable) spec.environment.emplace_back(*variable);
  spec.environment.insert(spec.environment.end(), child.environment.begin(), child.environment.end());
  if (!child.on) return spec;
  std::set<unsigned> nodes;
  for (const topology::VcpuSeat& seat : child.on->vcpus)
    if (seat.cpu) spec.affinity.add(*seat.cpu);
  for (const topology::MemoryCell& cell : child.on->cells) nodes.insert(cell.host_nodes.begin(), cell.host_nodes.end());
  spec.memory_nodes.assign(nodes.begin(), nodes.end());
  spec.policy = child.on->policy;
  return spec;
}

void check_called_off() {
  if (Signals::pending() != 0) throw std::runtime_error("called off; what was started is put back");
}

// What it writes until it closes its stdout.
std::string read_output(int fd, Clock::time_point until, bool despite_signals) {
  std::string out;
  std::array<char, 64 * 1024> bytes{};
  while (true) {
    if (!despite_signals) check_called_off();
    if (Clock::now() >= until) throw std::runtime_error("the command took too long (--timeout)");
    pollfd waiting{fd, POLLIN, 0};
    constexpr int moment = 200;  // ms
    if (poll(&waiting, 1, moment) <= 0) continue;
    const ssize_t got = read(fd, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return out;
    if (out.size() < most_output) out.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

::qmp::Client agent_of(const std::string& name) {
  const auto dir = VmDir::find(run_base(), name);
  if (!dir || !dir->owner_alive()) throw std::runtime_error("VM " + name + " has ended");
  return ::qmp::Client(::qmp::connect_unix(dir->path() / "agent.sock"));
}

}  // namespace

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

ChildEnd run_child(const Child& child, std::chrono::seconds limit) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) < 0) refuse("pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const auto begun = Clock::now();
  const ProcessId process = spawn(spec_of(child), {{STDOUT_FILENO, write_end.get()}}, [](const ProcessId&) {});
  write_end.reset();
  ChildEnd end;
  try {
    end.out = read_output(read_end.get(), Clock::now() + limit, child.despite_signals);
  } catch (...) {
    end_process(process);
    throw;
  }
  end.code = reap(process.pid);
  end.seconds = seconds_since(begun);
  return end;
}

void await_agent(const std::string& name, std::chrono::seconds limit) {
  const auto until = Clock::now() + limit;
  ::qmp::Client agent = agent_of(name);
  while (true) {
    check_called_off();
    try {
      agent.execute({"guest-ping"}, std::chrono::seconds(1));
      return;
    } catch (const ::qmp::Error& error) {
      if (error.kind == ::qmp::Error::Kind::disconnected) throw std::runtime_error("VM " + name + " has ended");
      if (Clock::now() >= until)
        throw std::runtime_error(
            "the guest's agent does not answer: does qemu-ga run in it? (--ready gives it longer)");
    }
  }
}

ChildEnd run_in_guest(const std::string& name, const std::vector<std::string>& command, std::chrono::seconds limit) {
  const auto until = Clock::now() + limit;
  ::qmp::Client agent = agent_of(name);
  const auto idle = [&] {
    check_called_off();
    if (Clock::now() >= until) throw std::runtime_error("the command took too long (--timeout)");
  };
  const auto begun = Clock::now();
  auto ran = run_by_agent(agent, command, std::nullopt, idle, std::chrono::seconds(30));
  return {ran.code, std::move(ran.out), seconds_since(begun)};
}

}  // namespace launcher::commands
