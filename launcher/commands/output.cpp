#include "launcher/commands/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <filesystem>

#include "launcher/host/fd.hpp"
#include "launcher/life/terminal.hpp"
#include "launcher/steps/records.hpp"
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

void write_file(const std::string& path, const std::string& text) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found || kind == std::filesystem::file_type::regular)
    return records::replace(path, text);
  const Fd fd = opened_or_refuse(open(path.c_str(), O_WRONLY | O_CLOEXEC), "open " + path);
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t put = ::write(fd.get(), text.data() + at, text.size() - at);
    if (put < 0 && errno != EINTR) refuse("write " + path);
    if (put > 0) at += static_cast<std::size_t>(put);
  }
}

}  // namespace launcher::commands
