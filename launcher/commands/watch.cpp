// `vmrun watch`: a window of a running VM, and whether anything disturbed it. The rule: exit 0 clean, 4 disturbed, 5 when nothing was
// found and something could not be read; the exit code of a command that ran meanwhile is told, not taken over.
#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <memory>
#include <optional>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/commands/watching.hpp"
#include "launcher/host/user_command.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/text/out.hpp"
#include "launcher/text/table.hpp"
#include "launcher/watch/picture.hpp"
#include "launcher/watch/run.hpp"
#include "launcher/watch/show.hpp"

namespace launcher::commands {

namespace {

constexpr std::chrono::seconds usual_window{10}, longest_window{7 * 24 * 3600};

volatile sig_atomic_t interrupted = 0;

// Ctrl-C ends the window, and the verdict is given.
void listen_for_the_end() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// "90", "90s", "1.5m", "500ms", "2h"
std::chrono::nanoseconds length_of(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const double scale = unit.empty() || unit == "s" ? 1
                       : unit == "ms"              ? 0.001
                       : unit == "m"               ? 60
                       : unit == "h"               ? 3600
                                                   : 0;
  const double seconds = number * scale;
  if (error != std::errc() || !(seconds > 0) || seconds > std::chrono::duration<double>(longest_window).count())
    throw UsageError(fmt::format("--for wants a length of time such as 60s, 5m or 2h, not '{}'", text));
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

unsigned windows_of(const Options& options) {
  const auto text = options.value("until-clean");
  if (!text) return 1;
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size() || number == 0)
    throw UsageError(fmt::format("--until-clean wants the most windows to try, not '{}'", *text));
  return number;
}

// As much of the page as the terminal has lines, redrawn in its place.
void draw(const Watched& watched) {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
  std::string page = to_text(watched, terminal_width(STDOUT_FILENO));
  std::size_t at = 0;
  for (unsigned line = 1; known && line < size.ws_row && at != std::string::npos; ++line) {
    at = page.find('\n', at);
    if (at != std::string::npos) ++at;
  }
  if (known && at != std::string::npos) page.resize(at - 1);
  redraw(page);
}

struct Ran {
  Watched watched;
  std::optional<int> exit_code;  // of the command
};

Ran one_window(Subject& subject, const VmDir& dir, const Options& options, const Thresholds& thresholds) {
  Ran ran;
  WatchFor wanted;
  const std::vector<std::string> argv(options.words().begin() + 1, options.words().end());
  std::unique_ptr<UserCommand> command;
  wanted.began = [&] {
    if (!argv.empty()) command = std::make_unique<UserCommand>(argv, options.flag("json"));
  };
  wanted.most = argv.empty() ? usual_window : longest_window;
  if (const auto text = options.value("for")) wanted.most = length_of(*text);
  wanted.ended = [&command, &ran] {
    if (command) ran.exit_code = command->exit_code();
    return (command && ran.exit_code) || (!command && interrupted != 0);
  };
  if (options.flag("live")) wanted.told = draw;
  wanted.phase = [&dir] { return dir.read_state().phase; };
  wanted.monitor = [&dir] { return monitor_if_free(dir); };
  ran.watched = watch_window(subject, wanted, thresholds);
  return ran;
}

void tell(const Options& options, const VmDir& dir, const Ran& ran) {
  if (const auto file = options.value("svg")) write_file(*file, picture_of(ran.watched, dir.name()));
  if (!options.flag("json")) {
    if (options.flag("live")) redraw("");
    return print(to_text(ran.watched, terminal_width(STDOUT_FILENO)));
  }
  boost::json::object out = to_json(dir.name(), ran.watched);
  if (ran.exit_code) out["command"] = boost::json::object{{"exit_code", *ran.exit_code}};
  print_json(out);
}

}  // namespace

int watch(const Options& options) {
  const VmDir dir = named_vm(options);
  const Thresholds thresholds = thresholds_of(options);
  if (options.flag("live") && (options.flag("json") || isatty(STDOUT_FILENO) == 0))
    throw UsageError("--live wants a terminal, and no --json");
  listen_for_the_end();
  Subject subject = look_at(dir, nullptr);
  Ran ran;
  for (unsigned left = windows_of(options); left > 0 && interrupted == 0; --left) {
    ran = one_window(subject, dir, options, thresholds);
    tell(options, dir, ran);
    if (ran.watched.clean()) break;
  }
  if (!ran.watched.clean()) return disturbed;
  return ran.watched.window.not_checked.empty() ? done : unproven;
}

}  // namespace launcher::commands
