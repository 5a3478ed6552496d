// `vmrun ssh` and `vmrun copy`: the guest's sshd, found without being told where. The rule: this process becomes ssh(1) or scp(1), so
// that terminal, signals and exit code are its own.
#include "launcher/guest/ssh.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/guest.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/life/terminal.hpp"

namespace launcher::commands {

namespace {

std::string own_path() {
  std::error_code none;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", none);
  return none ? "vmrun" : path.string();
}

// Tells while it waits, and leaves when the VM does.
std::function<void()> waiting_for(const VmDir& dir) {
  return [dir, told = false]() mutable {
    if (!dir.owner_alive()) throw std::runtime_error("VM " + dir.name() + " has ended");
    if (!told && isatty(STDERR_FILENO) != 0) progress("waiting for the sshd of " + dir.name());
    told = true;
  };
}

Route route_or_throw(const Options& options, const VmDir& dir, const Access& access) {
  const double seconds = options.number("timeout").value_or(180);
  const auto route =
      find_route(access, dir.path(), std::chrono::milliseconds(static_cast<long>(seconds * 1000)), waiting_for(dir));
  if (isatty(STDERR_FILENO) != 0) progress("");
  if (route) return *route;
  std::string tried;
  for (const Route& one : routes(access, dir.path())) tried += (tried.empty() ? "" : ", ") + one.words();
  throw std::runtime_error(
      fmt::format("no sshd of VM {} answers within {} s ({})", dir.name(), seconds,
                  tried.empty() ? "no way leads there: give a [[net]] forward = [\"tcp:127.0.0.1:2222:22\"] or a bridge"
                                : "tried: " + tried));
}

// Between stdin, stdout and the guest's sshd, as a ProxyCommand is wanted to.
int bridge(Fd connection) {
  signal(SIGPIPE, SIG_IGN);
  Relay out(connection.get(), STDOUT_FILENO), in(STDIN_FILENO, connection.get());
  bool told_end = false;
  while (!out.ended() || !out.drained()) {
    if (in.ended() && in.drained() && !told_end) told_end = shutdown(connection.get(), SHUT_WR) == 0;
    pollfd fds[4] = {{out.wants_read() ? connection.get() : -1, POLLIN, 0},
                     {out.wants_write() ? STDOUT_FILENO : -1, POLLOUT, 0},
                     {in.wants_read() ? STDIN_FILENO : -1, POLLIN, 0},
                     {in.wants_write() ? connection.get() : -1, POLLOUT, 0}};
    if (poll(fds, 4, -1) < 0 && errno != EINTR) return failed;
    if (fds[0].revents != 0) out.read_some();
    if (fds[1].revents != 0) out.write_some();
    if (fds[2].revents != 0) in.read_some();
    if (fds[3].revents != 0) in.write_some();
  }
  return done;
}

std::string user_of(const Options& options, const Access& access) {
  const std::string user = options.value("user").value_or(access.user.empty() ? "root" : access.user);
  if (user.empty() || user.starts_with('-')) throw UsageError("--user wants a user's name");
  return user;
}

}  // namespace

Access access_or_throw(const VmDir& dir) {
  const auto plan = dir.read_plan();
  if (!plan) throw std::runtime_error("VM " + dir.name() + " does not run (yet)");
  return access_of(dir.name(), *plan);
}

void need_keys(const Access& access) {
  if (access.keys.empty())
    throw std::runtime_error("VM " + access.vm +
                             " has no ssh keys of its own: its spec needs a table [cloud_init] (then start it again)");
}

int become(const std::vector<std::string>& argv) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  throw std::runtime_error(fmt::format("cannot run {}: {} (Debian: apt install openssh-client)", argv[0],
                                       std::generic_category().message(errno)));
}

std::vector<std::string> ssh_to(const Options& options, const VmDir& dir, const std::vector<std::string>& command) {
  const Access access = access_or_throw(dir);
  need_keys(access);
  const Route route = route_or_throw(options, dir, access);
  return ssh_argv(access, route, own_path(), user_of(options, access), command);
}

int ssh(const Options& options) {
  const VmDir dir = named_vm(options);
  if (options.flag("bridge")) {
    const Access access = access_or_throw(dir);
    const Route route = route_or_throw(options, dir, access);
    Fd connection = dial(route, std::chrono::seconds(10));
    if (!connection) throw std::runtime_error("lost the way to " + route.words());
    return bridge(std::move(connection));
  }
  return become(ssh_to(options, dir, {options.words().begin() + 1, options.words().end()}));
}

int copy(const Options& options) {
  options.word(1, "two paths, one of them NAME:PATH");
  std::optional<VmDir> dir;
  for (const std::string& word : options.words()) {
    const std::size_t colon = word.find(':');
    if (colon == word.npos || !is_file_name(word.substr(0, colon))) continue;
    const VmDir one = named_vm(word.substr(0, colon));
    if (dir && dir->name() != one.name()) throw UsageError("one VM at a time");
    dir = one;
  }
  if (!dir) throw UsageError("wanted NAME:PATH as one of the two paths, such as db:/etc/fstab");
  const Access access = access_or_throw(*dir);
  need_keys(access);
  const Route route = route_or_throw(options, *dir, access);
  return become(scp_argv(access, route, own_path(), user_of(options, access), options.words()));
}

}  // namespace launcher::commands
