// A log that others write into a pipe, and we from there into its file. The rule: it is bounded: the file keeps its beginning and its
// end, and says between them what was cut; and we hold the open file, whatever becomes of its name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/host/fd.hpp"

namespace launcher::inline host {

class LogPipe {
 public:
  static constexpr std::uint64_t least = 256 * 1024;  // of a file's bound

  LogPipe(std::string path, Fd file, std::uint64_t most);  // the file: open for reading and writing
  // The end for who writes. patient: it waits while the pipe is full; else what does not fit is lost, and its writer goes on.
  Fd take_writer(bool patient);

  const std::string& path() const { return path_; }
  int fd() const { return reader_.get(); }  // for poll(2); -1: nobody writes any more
  void read_some() noexcept;                // into the file, what is there now
  std::string loss() const;                 // "qemu.log: 1048576 bytes were cut"; "" if nothing was

 private:
  void put(std::string_view bytes);
  std::uint64_t shrink(std::uint64_t size);

  std::string path_;
  Fd file_, reader_, writer_;
  std::uint64_t most_, cut_ = 0;
  std::size_t marker_ = 0;  // bytes of what is said in the file of the cut
  int capacity_ = 0;
  bool overrun_ = false;  // the pipe was full: its writer may have lost words
};

// Those of one VM.
class Logs {
 public:
  LogPipe& add(LogPipe log) { return pipes_.emplace_back(std::move(log)); }
  void read_some() noexcept;
  std::vector<std::string> close() noexcept;  // with what is still in them; what was lost, a sentence each
  auto begin() const { return pipes_.begin(); }
  auto end() const { return pipes_.end(); }

 private:
  std::vector<LogPipe> pipes_;
};

}  // namespace launcher::host
