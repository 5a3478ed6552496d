#include "launcher/commands/ending.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <string>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/life/await_lock.hpp"
#include "launcher/steps/transaction.hpp"

namespace launcher::commands {

namespace {

using Clock = std::chrono::steady_clock;

bool blocks(pid_t pid, int signal) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigBlk:")) return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
  return false;
}

}  // namespace

Seen see(const VmDir& dir) {
  Seen vm{dir, dir.owner(), dir.read_state()};
  for (auto again = dir.owner(); again != vm.keeper; again = dir.owner()) {  // the name went to another one in between
    vm.keeper = again;
    vm.state = dir.read_state();
  }
  if (vm.keeper || !VmDir::find(run_base(), dir.name())) return vm;
  // About to be claimed, or what a crash left: under the lock it is one of the two.
  const Lock lock = await_lock(run_base(), say);
  vm.keeper = dir.owner();
  vm.state = dir.read_state();
  return vm;
}

bool wait_for_end(int pidfd, Clock::time_point until) {
  pollfd waiting{pidfd, POLLIN, 0};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    const int ready = poll(&waiting, 1, static_cast<int>(std::clamp<long long>(left, 0, 1'000'000'000)));
    if (ready > 0) return true;
    if (ready == 0 && Clock::now() >= until) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool signal_keeper(const ProcessId& keeper, int signal) {
  const Fd fd(open_pidfd(keeper));
  if (!fd) return false;
  const bool known = blocks(keeper.pid, signal);
  return known && syscall(SYS_pidfd_send_signal, fd.get(), signal, nullptr, 0) == 0;
}

void end_at_once(const Seen& vm) {
  if (!vm.state.qemu) return;
  // it finds this before it finds QEMU gone
  if (vm.keeper) signal_keeper(*vm.keeper, SIGUSR1);
  end_process(*vm.state.qemu);
}

int await_cleanup(const Seen& vm) {
  constexpr std::chrono::seconds cleanup{60};
  if (const Fd fd(vm.keeper ? open_pidfd(*vm.keeper) : -1); fd && !wait_for_end(fd.get(), Clock::now() + cleanup))
    throw std::runtime_error("VM " + vm.dir.name() + "'s keeper is still busy putting things back");
  // gone, or a new VM of this name
  const auto nothing_left = [&] {
    return !VmDir::find(run_base(), vm.dir.name()) || vm.dir.owner() != vm.keeper || vm.dir.owner_alive();
  };
  if (nothing_left()) return done;
  LinuxHost machine;
  const Lock lock = await_lock(run_base(), say);
  if (nothing_left()) return done;  // while we waited
  const std::vector<std::string> left = unwind(machine, vm.dir, run_base(), say);
  for (const std::string& what : left) say(what);
  return left.empty() ? done : left_over;
}

}  // namespace launcher::commands
