// vmrun: picks the subcommand; exceptions become a message and an exit code.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/problem.hpp"

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
    text += fmt::format("  --{:<24} {}\n",
                        fmt::format("{}{}{}", option.name, option.value.empty() ? "" : " ", option.value), option.help);
  return text;
}

int dispatch(std::vector<std::string> args) {
  if (args.empty()) {
    complain(overview());
    return commands::problems;
  }
  if (args[0] == "help" && args.size() > 1) {  // `vmrun help start` is `vmrun start --help`
    args.erase(args.begin());
    args.emplace_back("--help");
  }
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    print(overview());
    return commands::done;
  }
  if (args[0] == "--version") {
    print(fmt::format("vmrun {}\n", VMRUN_VERSION));
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
    for (const Command& row : table) names.emplace_back(row.name);
    throw UsageError(fmt::format("no command '{}'{}; `vmrun --help` lists them", printable(args[0]),
                                 commands::suggestion(args[0], names)));
  }
  // of a command that takes another program's words only its own --help counts
  const auto last =
      command->rest ? std::find_if(args.begin(), args.end(), [](const auto& word) { return !word.starts_with("--"); })
                    : args.end();
  if (std::find(args.begin(), last, "--help") != last) {
    print(help_of(*command));
    return commands::done;
  }
  return command->run(Options::parse(command->options, command->words, args, command->rest));
}

}  // namespace

int main(int argc, char** argv) {
  // What we keep is read and believed again: nobody else may write to it, and we can read it, whatever our caller's umask.
  constexpr mode_t others_write = 022, others = 077;
  umask((umask(others) & others) | others_write);
  fill_standard_streams();
  try {
    const int code = dispatch({argv + 1, argv + argc});
    const std::string lost = lost_words();
    if (!lost.empty()) say(lost);
    return code == commands::done && !lost.empty() ? commands::failed : code;
  } catch (const UsageError& error) {
    say(error.what());
    return commands::problems;
  } catch (const std::exception& error) {
    say(whole_story(error));
    return commands::failed;
  }
}
