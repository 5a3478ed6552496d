// A QEMU, real or fake, as a child process with our end of its monitor; it does not outlive the test that started it.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace qmp_tests {

class Process {
 public:
  // The monitor is the child's fd 10. environment: in addition to ours, as "KEY=value".
  Process(const std::string& binary, std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) throw std::runtime_error("socketpair");
    ends[1] = raised(ends[1]);
    char log[] = "/tmp/vmrun-qmp-test-XXXXXX";
    const int errors = raised(::mkostemp(log, O_CLOEXEC));
    ::unlink(log);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, ends[1], monitor_in_child);
    ::posix_spawn_file_actions_adddup2(&files, errors, 2);
    arguments.insert(arguments.begin(), binary);
    for (char** variable = environ; *variable; ++variable) environment.emplace_back(*variable);
    std::vector<char*> argv, envp;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    for (std::string& variable : environment) envp.push_back(variable.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    const int failed = ::posix_spawn(&pid_, binary.c_str(), &files, nullptr, argv.data(), envp.data());
    ::posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    monitor_ = ends[0];
    errors_ = errors;
    if (failed) throw std::runtime_error("cannot start " + binary);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (!ended_) {
      ::kill(pid_, SIGKILL);
      wait();
    }
    ::close(errors_);
  }

  pid_t pid() const { return pid_; }
  int take_monitor() const { return monitor_; }  // for the Client, who closes it

  // Exit code, or 1000 + the signal.
  int wait() {
    int status = 0;
    while (!ended_ && ::waitpid(pid_, &status, 0) < 0) {
    }
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  bool runs() { return !ended_ && (::waitpid(pid_, nullptr, WNOHANG) == 0 || !(ended_ = true)); }

  std::string stderr_text() const {
    std::ifstream file("/proc/self/fd/" + std::to_string(errors_));
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  static constexpr int monitor_in_child = 10;
  // The same file at a number above all that the child is given: whoever started us may have left any number free, and
  // dup2 of one file must not land on another.
  static int raised(int fd) {
    const int above = ::fcntl(fd, F_DUPFD_CLOEXEC, monitor_in_child + 1);
    ::close(fd);
    if (above < 0) throw std::runtime_error("fcntl");
    return above;
  }

  pid_t pid_ = -1;
  int monitor_ = -1;
  int errors_ = -1;
  bool ended_ = false;
};

inline std::string thread_name(pid_t process, pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

}  // namespace qmp_tests
