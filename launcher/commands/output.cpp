#include "launcher/commands/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <filesystem>
#include <stdexcept>

#include "launcher/host/fd.hpp"
#include "launcher/life/terminal.hpp"
#include "launcher/steps/records.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/render_problem.hpp"

namespace launcher::commands {

void print_json(const boost::json::value& value) { print_json_text(boost::json::serialize(value)); }

void print_problems(const Problems& problems, const TomlDocument* document, bool json) {
  if (json)
    print_json_text(problems_to_json(problems, document));
  else
    complain(problems, document, colour_wanted(STDERR_FILENO));
}

void report(const Options& options, const VmDir& dir, const std::string& what) {
  if (options.flag("json"))
    print_json({{"name", dir.name()}, {"done", what}});
  else
    say(fmt::format("VM {}: {}", dir.name(), what));
}

namespace {

// Somebody reads there, or it is refused: whoever writes to a pipe without a reader waits for good.
void write_to(const std::string& path, const std::string& text) {
  constexpr int patience_ms = 10'000;
  const Fd fd(open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd && errno == ENXIO) throw std::runtime_error(fmt::format("{}: nobody reads what is written there", path));
  if (!fd) refuse("open " + path);
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t put = ::write(fd.get(), text.data() + at, text.size() - at);
    if (put > 0) at += static_cast<std::size_t>(put);
    if (put >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN) refuse("write " + path);
    pollfd ready{fd.get(), POLLOUT, 0};
    if (poll(&ready, 1, patience_ms) == 0)
      throw std::runtime_error(fmt::format("{}: nobody takes what is written there", path));
  }
}

}  // namespace

void write_file(const std::string& path, const std::string& text) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto kind = fs::status(path, error).type();
  if (kind == fs::file_type::directory || kind == fs::file_type::block)
    throw UsageError(fmt::format("'{}' is a {}; wanted a file to write to", printable(path),
                                 kind == fs::file_type::block ? "block device" : "directory"));
  const bool named = kind == fs::file_type::not_found || kind == fs::file_type::regular;
  if (!named || path.starts_with("/dev/") || path.starts_with("/proc/")) {  // /dev/stdout may well be a file
    signal(SIGPIPE, SIG_IGN);
    return write_to(path, text);
  }
  // a link stays one
  const bool is_link = fs::is_symlink(path, error) && kind == fs::file_type::regular;
  records::replace(is_link ? fs::canonical(path) : fs::path(path), text);
}

}  // namespace launcher::commands
