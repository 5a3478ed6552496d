// `vmrun validate` and `vmrun edit`: a spec by itself, without this host.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <cstdlib>
#include <filesystem>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/commands/summary.hpp"
#include "launcher/host/user_command.hpp"

namespace launcher::commands {

namespace {

// That of a VM that runs; else the one of this name here, or for a unit.
std::string spec_of(const std::string& name) {
  if (!is_file_name(name)) return name;
  if (const auto dir = VmDir::find(run_base(), name))
    if (const std::string spec = given_to(*dir).spec; !spec.empty()) return spec;
  if (std::string file = spec_named(name); !file.empty()) return file;
  throw std::runtime_error(
      fmt::format("no spec of VM '{}' is known: none runs, and there is no {}.toml here or in "
                  "/etc/vmrun",
                  name, name));
}

std::string editor() {
  for (const char* name : {"VISUAL", "EDITOR"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  return "vi";
}

// By the shell, as git does it: the words of EDITOR are the user's own.
int run_editor(const std::string& file) {
  const std::string line = editor() + " \"$@\"";
  return UserCommand({"sh", "-c", line, "sh", file}, false).wait();
}

int tell_validity(const Options& options, const std::string& file) {
  const auto read = read_spec(file, options.all("set"));
  if (!read) {
    print_problems(read.error().problems, read.error().document ? &*read.error().document : nullptr,
                   options.flag("json"));
    return problems;
  }
  if (options.flag("json"))
    print_json({{"file", file}, {"name", read->spec.name}, {"valid", true}});
  else
    say(fmt::format("{} is a spec, of VM {}", file, read->spec.name));
  return done;
}

}  // namespace

int validate(const Options& options) { return tell_validity(options, options.word(0, "the spec's file")); }

int edit(const Options& options) {
  const std::string& name = options.word(0, "a VM's name, or its spec");
  const std::string file = spec_of(name);
  if (const int code = run_editor(file); code != 0)
    throw std::runtime_error(fmt::format("the editor ended with exit code {}", code));
  const int code = tell_validity(options, file);
  if (code == done && is_file_name(name) && VmDir::find(run_base(), name))
    say("it runs: what was changed counts from its next start");
  return code;
}

}  // namespace launcher::commands
