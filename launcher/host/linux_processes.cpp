// Processes and threads of this machine.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/prctl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "launcher/host/linux_host.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline host {

ProcessId LinuxProcesses::spawn(const ChildSpec& child, const FdLayout& fds,
                                const std::function<void(const ProcessId&)>& written_down) {
  return launcher::spawn(child, fds, written_down);
}

void LinuxProcesses::end_process(const ProcessId& process) { launcher::end_process(process); }

void LinuxProcesses::load_module(const std::string& name) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::string program = "modprobe", module = name, path = "PATH=/usr/sbin:/sbin:/usr/bin:/bin";
  std::array<char*, 3> argv{program.data(), module.data(), nullptr};
  std::array<char*, 2> environment{path.data(), nullptr};
  pid_t pid = 0;
  int error = ENOENT;
  for (const char* binary : {"/usr/sbin/modprobe", "/sbin/modprobe"})
    if (error == ENOENT) error = posix_spawn(&pid, binary, &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), "start modprobe");
  if (const int code = reap(pid); code != 0)
    throw std::runtime_error(
        fmt::format("modprobe {} ended with exit code {}: has this kernel that module?", name, code));
}

void LinuxProcesses::set_fifo(pid_t thread, unsigned priority) {
  sched_param parameter{};
  parameter.sched_priority = static_cast<int>(priority);
  // threads that it makes later (KVM's huge-page recovery) are not to inherit it
  if (sched_setscheduler(thread, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) < 0)
    refuse("make thread " + std::to_string(thread) + " SCHED_FIFO " + std::to_string(priority));
}

unsigned LinuxProcesses::fifo(pid_t thread) { return fifo_priority(thread); }

std::uint64_t LinuxProcesses::core_cookie(pid_t thread) {
  unsigned long long cookie = 0;
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, thread, 0, &cookie) < 0)
    refuse("core scheduling of thread " + std::to_string(thread));
  return cookie;
}

int LinuxProcesses::wait_for(const ProcessId& child, const std::function<void()>& meanwhile) {
  constexpr int between_looks = 200;  // ms
  const Fd pidfd(open_pidfd(child));
  pollfd ending{pidfd.get(), POLLIN, 0};
  while (pidfd && poll(&ending, 1, between_looks) == 0) meanwhile();
  return reap(child.pid);
}

void LinuxProcesses::pin(pid_t thread, const topology::CpuSet& cpus) {
  const auto error = topology::set_affinity(thread, cpus);
  if (error) refuse("pin thread " + std::to_string(thread) + " to CPUs " + cpus.to_string(), error.value());
}

topology::CpuSet LinuxProcesses::pinned(pid_t thread) {
  const auto cpus = topology::get_affinity(thread);
  if (!cpus) refuse("affinity of thread " + std::to_string(thread), cpus.error().value());
  return *cpus;
}

}  // namespace launcher::host
