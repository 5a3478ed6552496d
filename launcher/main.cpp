// vmrun: picks the subcommand; exceptions become a message and an exit code.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "launcher/commands/commands.hpp"

namespace {

using namespace launcher;
using commands::Command;
using commands::OptionInfo;
using commands::Options;
using commands::UsageError;

std::string overview() {
  std::string text = "usage: vmrun SPEC.toml | vmrun COMMAND [OPTIONS]\n\n";
  for (const Command& command : commands::command_table()) {
    text += fmt::format("  {:<18} {}\n", command.usage, command.summary);
    for (const Command& sub : command.subcommands) text += fmt::format("  {:<18} {}\n", sub.usage, sub.summary);
  }
  return text + "\n`vmrun COMMAND --help` tells its options; `vmrun --version` the version.\n";
}

std::string help_of(const Command& command) {
  std::string text = fmt::format("usage: vmrun {} [OPTIONS]\n{}\n", command.usage, command.summary);
  if (!command.options.empty()) text += "\n";
  for (const OptionInfo& option : command.options)
    text += fmt::format("  --{:<24} {}\n", option.name + (option.value.empty() ? "" : " " + option.value), option.help);
  return text;
}

int dispatch(std::vector<std::string> args) {
  if (args.empty()) {
    std::fputs(overview().c_str(), stderr);
    return commands::problems;
  }
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    commands::print(overview());
    return commands::done;
  }
  if (args[0] == "--version") {
    commands::print(fmt::format("vmrun {}\n", VMRUN_VERSION));
    return commands::done;
  }
  const auto& table = commands::command_table();
  const Command* command = commands::find_command(args);
  if (command != nullptr) {
    // its words are taken
  } else if (args[0].ends_with(".toml") || args[0].find('/') != std::string::npos || args[0].starts_with("--")) {
    command = &table.front();  // `vmrun SPEC` is `vmrun run SPEC`
  } else {
    std::vector<std::string> names;
    names.reserve(table.size());
    for (const Command& row : table) names.push_back(row.name);
    const std::string close = closest(args[0], names);
    throw UsageError(fmt::format("no command '{}'{}; `vmrun --help` lists them", printable(args[0]),
                                 close.empty() ? "" : "; did you mean '" + close + "'?"));
  }
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    commands::print(help_of(*command));
    return commands::done;
  }
  return command->run(Options::parse(command->options, command->words, args));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return dispatch({argv + 1, argv + argc});
  } catch (const UsageError& error) {
    commands::say(error.what());
    return commands::problems;
  } catch (const std::exception& error) {
    commands::say(whole_story(error));
    return commands::failed;
  }
}
