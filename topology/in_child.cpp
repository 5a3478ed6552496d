// The child's answer comes through a pipe: one byte that says whether it is the result or an error, then the text. The rule:
// the child leaves by _exit, so that nothing of the parent's (buffers, destructors) runs twice.
#include "topology/in_child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace topology {

namespace {

void send(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

std::string receive(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

[[noreturn]] void be_child(int fd, const std::function<std::expected<std::string, std::string>()>& work) {
  const rlimit no_core{0, 0}, seconds{10, 10};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setrlimit(RLIMIT_CPU, &seconds);
  if (const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC); null >= 0) {  // libraries complain there
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
  }
  try {
    const auto result = work();
    send(fd, result ? "+" + *result : "-" + result.error());
  } catch (const std::exception& error) {
    send(fd, std::string("-") + error.what());
  }
  ::_exit(0);
}

}  // namespace

std::expected<std::string, std::string> in_child(const std::function<std::expected<std::string, std::string>()>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(std::string("pipe: ") + std::strerror(errno));
  const pid_t child = ::fork();
  if (child == 0) be_child(ends[1], work);
  ::close(ends[1]);
  const std::string answer = child > 0 ? receive(ends[0]) : "";
  ::close(ends[0]);
  if (child < 0) return std::unexpected(std::string("fork: ") + std::strerror(errno));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return std::unexpected(fmt::format("ended by signal {}", WTERMSIG(status)));
  if (answer.starts_with('+')) return answer.substr(1);
  return std::unexpected(answer.empty() ? "said nothing" : answer.substr(1));
}

}  // namespace topology
