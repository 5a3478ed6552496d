// The table of subcommands. Adding one is one file here, which defines int NAME(const Options&), and one row in command_table().
#pragma once

#include <string>
#include <vector>

#include "launcher/commands/options.hpp"

namespace launcher::commands {

// Exit codes, the same for every command.
// disturbed: of `watch`. unproven: of `verify` and `watch`, when nothing was found wrong and something could not be read.
enum Exit { done = 0, failed = 1, problems = 2, left_over = 3, disturbed = 4, unproven = 5 };

struct Command {
  std::string_view name;
  std::string_view usage;    // "plan SPEC [OPTIONS]"
  std::string_view summary;  // one line
  std::vector<OptionInfo> options;
  std::size_t words = 0;
  int (*run)(const Options&);
  std::vector<Command> subcommands = {};  // "host check": chosen by the next word
  bool rest = false;                      // after the first word all others are taken as they are, options or not
};
// A row's function, which its own file defines: declared here, so that a command has no second line anywhere.
#define RUNS(function)            \
  [](const Options& options) {    \
    int function(const Options&); \
    return function(options);     \
  }
const std::vector<Command>& command_table();
std::vector<Command> host_subcommands();

// The row that the words name, a subcommand's if there is one; the words it took are gone from them. nullptr: none.
const Command* find_command(std::vector<std::string>& words);

}  // namespace launcher::commands
