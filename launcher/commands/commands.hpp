// The table of subcommands and what they share. Adding one is one file here and one row in command_table().
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/commands/options.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/life/launch.hpp"
#include "launcher/spec/read_spec.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::commands {

// Exit codes, the same for every command.
enum Exit { done = 0, failed = 1, problems = 2, left_over = 3 };

struct Command {
  std::string name;
  std::string usage;    // "plan SPEC [OPTIONS]"
  std::string summary;  // one line
  std::vector<OptionInfo> options;
  std::size_t words = 0;
  int (*run)(const Options&);
  std::vector<Command> subcommands = {};  // "host check": chosen by the next word
};
const std::vector<Command>& command_table();
std::vector<Command> host_subcommands();

// The row that the words name, a subcommand's if there is one; the words it took are gone from them. nullptr: none.
const Command* find_command(std::vector<std::string>& words);

int plan(const Options&);
int run(const Options&);
int start(const Options&);
int list(const Options&);
int show(const Options&);
int stop(const Options&);
int kill(const Options&);
int pause(const Options&);
int resume(const Options&);
int reset(const Options&);
int console(const Options&);
int qmp(const Options&);
int agent(const Options&);
int set(const Options&);
int wait(const Options&);
int recover(const Options&);
int host(const Options&);
int host_check(const Options&);
int host_tune(const Options&);
int host_revert(const Options&);
int host_unpersist(const Options&);
int schema(const Options&);
int completion(const Options&);
int man(const Options&);

// --- shared ---

// Reads the spec named by the first word, with --set; prints its problems. nullopt: they were printed (exit 2).
std::optional<SpecFile> read_spec_or_print(const Options& options);
void print_problems(const Problems& problems, const TomlDocument* document, bool json);
HostConfig host_config_or_throw(const Options& options);

// The VM named by the first word; throws std::runtime_error with the names there are.
VmDir named_vm(const Options& options);

::qmp::Client connect_monitor(const VmDir& dir);     // its public QMP socket, hands shaken
::qmp::Command command_of(const std::string& text);  // a name, or {"execute": ..., "arguments": ...}
void report(const Options& options, const VmDir& dir, const std::string& what);

// Text for a person on stdout; with --json the value instead.
void print(const std::string& text);
void print_json(const boost::json::value& value);
void say(const std::string& text);  // to stderr, "vmrun: ..."

}  // namespace launcher::commands
