// How a command's words reach a person or a program: text on stdout, messages on stderr, JSON where it was asked for.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "launcher/commands/options.hpp"
#include "launcher/steps/run_dir.hpp"
#include "launcher/text/render_problem.hpp"

namespace launcher::commands {

// From here on nothing below waits for a reader longer than a moment; what is not taken is dropped, and from then on all that
// is not taken at once. For whoever holds a VM: a pipe that nobody reads must hold neither its pages nor its signals.
void never_wait_for_readers();

void tell(int fd, const std::string& text);
void print(const std::string& text);  // for a person, on stdout
void print_json(const boost::json::value& value);
void say(const std::string& text);  // to stderr, "vmrun: ..."
void print_problems(const Problems& problems, const TomlDocument* document, bool json);

// What was done to a VM: a line, or with --json an object.
void report(const Options& options, const VmDir& dir, const std::string& what);

}  // namespace launcher::commands
