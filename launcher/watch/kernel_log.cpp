#include "launcher/watch/kernel_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "launcher/watch/parse.hpp"

namespace launcher::inline watch {

KernelLog::KernelLog() : fd_(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
  if (fd_) lseek(fd_.get(), 0, SEEK_END);
}

// A read(2) gives one record: "6,1234,987654,-;text\n SUBSYSTEM=..."; the level is the lowest three bits of the first number.
std::vector<std::string> KernelLog::warnings() {
  constexpr std::size_t most = 50;
  std::vector<std::string> lines;
  std::array<char, 8192> record{};
  while (fd_ && lines.size() < most) {
    const ssize_t size = ::read(fd_.get(), record.data(), record.size());
    if (size < 0 && errno == EPIPE) continue;  // records were overwritten; the next is there
    if (size <= 0) break;
    const std::string_view text(record.data(), static_cast<std::size_t>(size));
    const auto prefix = numbers_in(text);
    const std::size_t from = text.find(';');
    if (prefix.empty() || from == std::string_view::npos || (prefix[0] & 7U) > 4) continue;
    lines.emplace_back(text.substr(from + 1, text.find('\n') - from - 1));
  }
  return lines;
}

}  // namespace launcher::watch
