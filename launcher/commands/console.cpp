// `vmrun console`: this terminal becomes the guest's serial console until Ctrl-] or until the guest ends.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/ending.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/devices/serial.hpp"
#include "launcher/guest/agent.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/life/console_tap.hpp"
#include "launcher/life/terminal.hpp"
#include "launcher/steps/records.hpp"
#include "launcher/text/out.hpp"

namespace launcher::commands {

namespace {

constexpr char escape = 0x1d;  // Ctrl-]

// Until the console ends or the user leaves. End of our input does not end it: there may be more to read.
void relay(int console, bool interactive) {
  Relay out(console, STDOUT_FILENO);
  Relay in(STDIN_FILENO, console);
  while (!out.ended() || !out.drained()) {
    pollfd fds[4] = {{out.wants_read() ? console : -1, POLLIN, 0},
                     {out.wants_write() ? STDOUT_FILENO : -1, POLLOUT, 0},
                     {in.wants_read() ? STDIN_FILENO : -1, POLLIN, 0},
                     {in.wants_write() ? console : -1, POLLOUT, 0}};
    if (poll(fds, 4, -1) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) out.read_some();
    if (fds[1].revents != 0) out.write_some();
    if (fds[2].revents != 0) in.read_some();
    if (fds[2].revents != 0 && interactive && in.last().find(escape) != std::string::npos) return;
    if (fds[3].revents != 0) in.write_some();
  }
}

// What was said before we came, where the keeper had listened: it leaves it as it lets go.
std::string backlog(const std::filesystem::path& file, bool keeper_told) {
  constexpr int looks = 30;
  constexpr std::chrono::milliseconds between{10};
  for (int i = 0; keeper_told && i < looks; ++i) {
    if (auto text = records::slurp(file)) {
      std::erase(*text, '\r');  // it is printed as words, not as a terminal's traffic
      return std::move(*text);
    }
    std::this_thread::sleep_for(between);
  }
  return {};
}

// A serial line does not know how large its terminal is; the guest's agent, where one answers, can tell it.
void tell_size(const VmDir& dir, unsigned port) {
  winsize size{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0) return;
  try {
    if (auto agent = reach_agent(dir.path(), std::chrono::milliseconds(300)))
      run_by_agent(
          *agent,
          {"stty", "-F", "/dev/ttyS" + std::to_string(port - 1), "rows", std::to_string(size.ws_row), "cols",
           std::to_string(size.ws_col)},
          std::nullopt, [] {}, std::chrono::seconds(2));
  } catch (const std::exception&) {
    // an agent that does not run programs: the guest keeps its own idea
  }
}

// COM1 to COM4, of those that this VM has.
unsigned chosen_port(const Options& options, const VmDir& dir) {
  const double port = options.number("port").value_or(1);
  for (unsigned i = 1; i <= 1 + most_serials; ++i)
    if (port == i && std::filesystem::exists(dir.path() / port_socket(i))) return i;
  throw std::runtime_error(fmt::format("VM {} has no port {}; the console is 1, and 2 to {} are [[serial]] of its spec",
                                       dir.name(), options.value("port").value_or("1"), 1 + most_serials));
}

}  // namespace

int console(const Options& options) {
  const VmDir dir = named_vm(options);
  signal(SIGPIPE, SIG_IGN);
  const bool interactive = isatty(STDIN_FILENO) != 0;
  const unsigned port = chosen_port(options, dir);
  const std::filesystem::path before = console_backlog(dir.path());
  std::error_code none;
  if (port == 1) std::filesystem::remove(before, none);
  const Fd fd(::qmp::connect_unix(dir.path() / port_socket(port)));
  const auto keeper = port == 1 ? dir.owner() : std::nullopt;
  if (keeper) signal_keeper(*keeper, SIGUSR2);  // it listens where nobody else does
  if (interactive) {
    say("connected to " + dir.name() + (port == 1 ? "'s console" : "'s COM" + std::to_string(port)) +
        " (Ctrl-] leaves; nothing is shown while another holds it)");
    tell_size(dir, port);
    hand_on(STDOUT_FILENO, backlog(before, keeper.has_value()));
  }
  {
    const RawTerminal terminal(false);
    relay(fd.get(), terminal.active());
  }
  if (interactive) print("\n");  // the shell's prompt begins a line of its own
  return done;
}

}  // namespace launcher::commands
