// `vmrun completion`: a script for bash (or another shell), made from the table of commands. The rule: words, names and files come from a compgen
// each, for a filter on files (-X) would take the words away as well.
#include "launcher/commands/completion.hpp"

#include <fmt/format.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"

namespace launcher::commands {

namespace {

std::string options_of(const Command& command) {
  std::string words;
  for (const OptionInfo& option : command.options) words.append(" --").append(option.name);
  return words;
}

// What may follow these words: a case of the script.
std::string case_of(const std::string& pattern, const Command& command) {
  std::string words = options_of(command);
  for (const Command& sub : command.subcommands) words.append(" ").append(sub.name);
  const bool spec = command.usage.find("SPEC") != std::string::npos;
  const bool file =
      command.usage.find(" FILE") != std::string::npos || command.usage.find(" LOCK") != std::string::npos;
  const bool vm = command.usage.find("NAME") != std::string::npos;
  const bool kept = command.name == "forget" || command.name == "log";  // those that do not run as well
  const bool diff = command.name == "diff";
  return fmt::format("    {}) words='{}'{}{}{}{} ;;\n", pattern, words, spec ? " specs=y" : "",
                     file || diff ? " files=y" : "", vm || diff ? " vms=y" : "", kept ? " kept=y" : "");
}

}  // namespace

std::string bash_completion() {
  std::string verbs = "help";
  std::string cases;
  for (const Command& command : command_table()) {
    verbs.append(" ").append(command.name);
    for (const Command& sub : command.subcommands)
      cases += case_of(fmt::format("'{} {}'", command.name, sub.name), sub);
    cases += case_of(fmt::format("'{} '*", command.name), command);
  }
  cases += case_of("*'.toml '*", command_table().front());  // `vmrun SPEC` is `vmrun run SPEC`
  std::string script = R"bash(# bash completion for vmrun
_vmrun_vms() {
  local base
  for base in "${VMRUN_RUN_DIR:-/run/vmrun}" "${VMRUN_RUN_DIR:-${XDG_RUNTIME_DIR:-/run/vmrun}/vmrun}"; do
    (cd -- "$base" 2>/dev/null && command ls)
  done
}
_vmrun_kept() {
  local base
  for base in "${VMRUN_STATE_DIR:-/var/lib/vmrun}" "${VMRUN_STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/vmrun}"; do
    (cd -- "$base" 2>/dev/null && command ls)
  done
}
_vmrun() {
  local word="${COMP_WORDS[COMP_CWORD]}" words='' specs='' files='' vms='' kept='' at="${COMP_WORDS[1]} "
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='@VERBS@'
    specs=y
  else
    if [ "$COMP_CWORD" -gt 2 ]; then at="${COMP_WORDS[1]} ${COMP_WORDS[2]}"; fi
    case "$at" in
    'help '*) words='@VERBS@' ;;
@CASES@    esac
  fi
  mapfile -t COMPREPLY < <({
    compgen -W "$words" -- "$word"
    if [ -n "$vms" ]; then compgen -W "$(_vmrun_vms)" -- "$word"; fi
    if [ -n "$kept" ]; then compgen -W "$(_vmrun_kept)" -- "$word"; fi
    if [ -n "$files" ]; then compgen -f -- "$word"; fi
    if [ -n "$specs" ]; then
      compgen -f -X '!*.toml' -- "$word"
      compgen -d -- "$word"
    fi
  } | sort -u)
}
complete -o filenames -F _vmrun vmrun
)bash";
  for (const auto& [mark, text] : {std::pair<std::string, std::string>{"@VERBS@", verbs}, {"@CASES@", cases}})
    for (std::size_t at = 0; (at = script.find(mark, at)) != script.npos; at += text.size())
      script.replace(at, mark.size(), text);
  return script;
}

int completion(const Options& options) {
  const std::string shell = options.words().empty() ? "bash" : options.words().front();
  if (shell != "bash" && shell != "zsh" && shell != "fish") throw UsageError("wanted bash, zsh or fish");
  print(shell == "zsh" ? zsh_completion() : shell == "fish" ? fish_completion() : bash_completion());
  return done;
}

}  // namespace launcher::commands
