#include "launcher/commands/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "launcher/life/terminal.hpp"

namespace launcher::commands {

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const boost::json::value& value) { print(boost::json::serialize(value) + "\n"); }

void say(const std::string& text) {
  const std::string line = "vmrun: " + text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void print_problems(const Problems& problems, const TomlDocument* document, bool json) {
  if (json) {
    print(problems_to_json(problems, document) + "\n");
    return;
  }
  const std::string text = render(problems, document, colour_wanted(STDERR_FILENO));
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void report(const Options& options, const VmDir& dir, const std::string& what) {
  if (options.flag("json"))
    print_json({{"name", dir.name()}, {"done", what}});
  else
    say(fmt::format("VM {}: {}", dir.name(), what));
}

}  // namespace launcher::commands
