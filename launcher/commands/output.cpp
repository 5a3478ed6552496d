#include "launcher/commands/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "launcher/life/terminal.hpp"
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

}  // namespace launcher::commands
