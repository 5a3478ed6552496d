#include "launcher/commands/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <optional>

#include "launcher/life/bounded_write.hpp"
#include "launcher/life/terminal.hpp"

namespace launcher::commands {

namespace {

// How long a reader of 0, 1 and 2 may take; nullopt: as long as it likes.
std::optional<std::array<std::chrono::milliseconds, 3>> patience;

}  // namespace

void never_wait_for_readers() {
  constexpr std::chrono::milliseconds moment{1000};
  patience = {moment, moment, moment};
}

void tell(int fd, const std::string& text) {
  std::FILE* stream = fd == STDERR_FILENO ? stderr : stdout;
  if (!patience) {
    std::fwrite(text.data(), 1, text.size(), stream);
    std::fflush(stream);
    return;
  }
  std::chrono::milliseconds& bound = patience->at(static_cast<std::size_t>(fd));
  if (write_within(fd, text, bound) < text.size()) bound = std::chrono::milliseconds(0);
}

void print(const std::string& text) { tell(STDOUT_FILENO, text); }

void print_json(const boost::json::value& value) { print(boost::json::serialize(value) + "\n"); }

void say(const std::string& text) { tell(STDERR_FILENO, "vmrun: " + text + "\n"); }

void print_problems(const Problems& problems, const TomlDocument* document, bool json) {
  if (json) {
    print(problems_to_json(problems, document) + "\n");
    return;
  }
  tell(STDERR_FILENO, render(problems, document, colour_wanted(STDERR_FILENO)));
}

void report(const Options& options, const VmDir& dir, const std::string& what) {
  if (options.flag("json"))
    print_json({{"name", dir.name()}, {"done", what}});
  else
    say(fmt::format("VM {}: {}", dir.name(), what));
}

}  // namespace launcher::commands
