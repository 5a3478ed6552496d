// `vmrun console`: this terminal becomes the guest's serial console until Ctrl-] or until the guest ends.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/ending.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/life/terminal.hpp"

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

}  // namespace

int console(const Options& options) {
  const VmDir dir = named_vm(options);
  signal(SIGPIPE, SIG_IGN);
  const Fd fd(::qmp::connect_unix(dir.path() / "console.sock"));
  if (const auto keeper = dir.owner()) signal_keeper(*keeper, SIGUSR2);  // it listens where nobody else does
  const RawTerminal terminal(false);
  if (terminal.active())
    say("connected to " + dir.name() + "'s console (Ctrl-] leaves; nothing is shown while another holds it)\r");
  relay(fd.get(), terminal.active());
  return done;
}

}  // namespace launcher::commands
