// How a command's words reach a person or a program: text on stdout, messages on stderr, JSON where it was asked for.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

#include "launcher/commands/options.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "launcher/text/out.hpp"

namespace launcher::commands {

void print_json(const boost::json::value& value);
void print_problems(const Problems& problems, const TomlDocument* document, bool json);

// A file that a reader never sees half of: a new one in its place. What is no file of its own name (/dev/stdout, a FIFO) is written to,
// if somebody reads there; a block device never is. Throws.
void write_file(const std::string& path, const std::string& text);

// What was done to a VM: a line, or with --json an object.
void report(const Options& options, const VmDir& dir, const std::string& what);

}  // namespace launcher::commands
