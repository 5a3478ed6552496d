// One line of QMP <-> Greeting | Reply | Failure | Event; Command -> line. The rule: no I/O here and no exception leaves
// parse_message(), whatever the bytes are (fuzzed). Source: QEMU docs/interop/qmp-spec.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <variant>

namespace qmp {

struct Greeting {
  unsigned major = 0, minor = 0, micro = 0;
  std::string package;
};
struct Reply {
  std::uint64_t id = 0;
  boost::json::value value;
};
struct Failure {
  std::uint64_t id = 0;     // 0: QEMU could not tell which command it was
  std::string error_class;  // "GenericError", "CommandNotFound", ...
  std::string description;
};
struct Event {
  std::string name;  // "SHUTDOWN", "STOP", ...
  boost::json::object data;
};
using Message = std::variant<Greeting, Reply, Failure, Event>;

struct Command {
  std::string name;
  boost::json::object arguments{};  // empty: none are sent
};

inline constexpr std::size_t max_line = 8u << 20;  // bytes; a longer line is a broken peer, not a message

// line without its "\r\n". Error: one sentence for the log.
std::expected<Message, std::string> parse_message(std::string_view line);

// Compact, one line with its "\n" (QEMU 7.2 reads about 1.8 us per byte: QEMU-FACTS).
std::string to_line(const Command& command, std::uint64_t id);

// The first 80 bytes in quotes, with everything unprintable as \xNN: for errors about what a peer sent.
std::string excerpt(std::string_view bytes);

// A stream of bytes cut into lines; a line over max_line is an error that lasts.
class LineSplitter {
 public:
  explicit LineSplitter(std::size_t limit = max_line) : limit_(limit) {}
  void feed(std::string_view bytes);
  std::expected<std::string, std::string> next();  // "" with has_line() false: none yet
  bool has_line() const { return newline_ != std::string::npos; }
  bool broken() const { return broken_; }  // after the lines before the too long one were taken
  std::string_view rest() const;           // what came of a line that has no end yet

 private:
  void find_newline(std::size_t from);

  std::size_t limit_;
  std::string buffer_;                       // once broken: only the beginning of the too long line
  std::size_t begin_ = 0;                    // what lies before it was taken
  std::size_t newline_ = std::string::npos;  // the first one after begin_
  bool broken_ = false;
};

}  // namespace qmp
