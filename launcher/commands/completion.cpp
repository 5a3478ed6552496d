// `vmrun completion`: a script for bash, made from the table of commands.
#include <fmt/format.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"

namespace launcher::commands {

int completion(const Options&) {
  std::string verbs;
  std::string cases;
  for (const Command& command : command_table()) {
    verbs += command.name + " ";
    std::string words;
    for (const OptionInfo& option : command.options) words += "--" + option.name + " ";
    bool file = command.usage.find("SPEC") != std::string::npos;
    for (const Command& sub : command.subcommands) {
      words += sub.name + " ";
      for (const OptionInfo& option : sub.options) words += "--" + option.name + " ";
      file = file || sub.usage.find("SPEC") != std::string::npos;
    }
    const bool vm = command.usage.find("NAME") != std::string::npos;
    cases += fmt::format("    {}) COMPREPLY=($(compgen {}-W \"{}{}\" -- \"$word\")) ;;\n", command.name,
                         file ? "-f -X '!*.toml' " : "", words, vm ? "$(command ls -- /run/vmrun 2>/dev/null)" : "");
  }
  print(
      fmt::format("# bash completion for vmrun\n_vmrun() {{\n  local word=\"${{COMP_WORDS[COMP_CWORD]}}\"\n"
                  "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -f -X '!*.toml' -W \"{}\" -- "
                  "\"$word\"))\n    return\n  fi\n"
                  "  case \"${{COMP_WORDS[1]}}\" in\n{}  esac\n}}\ncomplete -o filenames -F _vmrun vmrun\n",
                  verbs, cases));
  return done;
}

}  // namespace launcher::commands
