#include "launcher/host/log_pipe.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace launcher::inline host {

LogPipe::LogPipe(std::string path, Fd file, std::uint64_t most)
    : path_(std::move(path)), file_(std::move(file)), most_(std::max(most, least)) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) < 0) refuse("pipe");
  reader_ = Fd(ends[0]);
  writer_ = Fd(ends[1]);
  fcntl(reader_.get(), F_SETFL, O_NONBLOCK);
  constexpr int roomy = 1 << 20;  // a burst while we are busy; smaller where this user may not have so much
  fcntl(reader_.get(), F_SETPIPE_SZ, roomy);
  capacity_ = fcntl(reader_.get(), F_GETPIPE_SZ);
}

Fd LogPipe::take_writer(bool patient) {
  if (!patient) fcntl(writer_.get(), F_SETFL, O_NONBLOCK);
  return std::exchange(writer_, Fd());
}

void LogPipe::read_some() noexcept {
  std::array<char, 65536> chunk{};
  constexpr int turns = 32;  // whoever writes without end does not keep us
  for (int turn = 0; turn < turns && reader_; ++turn) {
    int waiting = 0;
    if (ioctl(reader_.get(), FIONREAD, &waiting) == 0 && waiting > capacity_ - PIPE_BUF) overrun_ = true;
    const ssize_t got = read(reader_.get(), chunk.data(), chunk.size());
    if (got == 0) reader_.reset();
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    put({chunk.data(), static_cast<std::size_t>(got)});
  }
}

std::string LogPipe::loss() const {
  if (cut_ == 0 && !overrun_) return {};
  return fmt::format("{}: {} bytes were cut{}", std::filesystem::path(path_).filename().string(), cut_,
                     overrun_ ? ", and what came too fast to be read" : "");
}

// A full disk costs these words, and nothing else.
void LogPipe::put(std::string_view bytes) {
  struct stat info {};
  if (fstat(file_.get(), &info) < 0) return;
  auto size = static_cast<std::uint64_t>(info.st_size);
  const bool whole = S_ISREG(info.st_mode);  // else a terminal or the like: nothing of it can be cut
  if (whole && size + bytes.size() > most_) size = shrink(size);
  while (!bytes.empty()) {
    const ssize_t written = whole ? pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size))
                                  : write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      cut_ += bytes.size();
      return;
    }
    size += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

// To its first and its last quarter, with a line between them. Returns its size.
std::uint64_t LogPipe::shrink(std::uint64_t size) {
  const std::uint64_t kept = most_ / 4;
  if (size < 2 * kept) return size;
  std::string end(kept, '\0');
  const ssize_t got = pread(file_.get(), end.data(), end.size(), static_cast<off_t>(size - kept));
  end.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (const std::size_t line = end.find('\n'); line < 4096) end.erase(0, line + 1);
  cut_ += size - kept - marker_ - end.size();
  const std::string marker =
      fmt::format("\n[vmrun: {} bytes were cut here{}]\n", cut_, overrun_ ? ", and what came too fast to be read" : "");
  marker_ = marker.size();
  end.insert(0, marker);
  const ssize_t written = pwrite(file_.get(), end.data(), end.size(), static_cast<off_t>(kept));
  const std::uint64_t now = kept + (written > 0 ? static_cast<std::uint64_t>(written) : 0);
  return ftruncate(file_.get(), static_cast<off_t>(now)) < 0 ? size : now;
}

void Logs::read_some() noexcept {
  for (LogPipe& pipe : pipes_) pipe.read_some();
}

std::vector<std::string> Logs::close() noexcept {
  read_some();
  std::vector<std::string> lost;
  for (const LogPipe& pipe : pipes_)
    if (std::string loss = pipe.loss(); !loss.empty()) lost.push_back(std::move(loss));
  pipes_.clear();
  return lost;
}

}  // namespace launcher::host
