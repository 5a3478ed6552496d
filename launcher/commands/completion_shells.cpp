// The completion scripts for zsh and fish, made from the same table as bash's. The rule: whoever wrote a help text steers no shell.
#include <fmt/format.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/completion.hpp"

namespace launcher::commands {

namespace {

std::string escaped(std::string_view text, std::string_view special, const std::string& by) {
  std::string safe;
  for (const char c : text) safe += special.find(c) == special.npos ? std::string(1, c) : by + c;
  return safe;
}

bool takes(const Command& command, const char* what) { return command.usage.find(what) != std::string::npos; }
bool takes_kept(const Command& command) { return command.name == "forget" || command.name == "log"; }

// --- zsh: one word of _arguments or _describe ---

std::string zsh_quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return safe + "'";
}

std::string zsh_case(const Command& command) {
  std::string text = fmt::format("  {}) _arguments", command.name);
  for (const OptionInfo& option : command.options) {
    const std::string value = option.value.empty() ? "" : ":" + escaped(option.value, ":", "\\") + ":_files";
    text += " \\\n      " + zsh_quoted(fmt::format("{}--{}[{}]{}", option.repeated ? "*" : "", option.name,
                                                   escaped(option.help, ":[]\\", "\\"), value));
  }
  std::string subs;
  for (const Command& sub : command.subcommands) subs.append(subs.empty() ? "" : " ").append(sub.name);
  if (!subs.empty()) text += " \\\n      " + zsh_quoted("1: :(" + subs + ")");
  if (takes(command, "NAME") && command.name != "new")
    text += " \\\n      " + zsh_quoted(takes_kept(command) ? "1: :_vmrun_kept" : "1: :_vmrun_vms");
  if (takes(command, "SPEC")) text += " \\\n      " + zsh_quoted("*: :_files -g \"*.toml\"");
  if (takes(command, "FROM")) text += " \\\n      " + zsh_quoted("*: :_files");
  return text + " ;;\n";
}

// --- fish ---

std::string fish_quoted(std::string_view text) { return "'" + escaped(text, "'\\", "\\") + "'"; }

std::string fish_lines(const Command& command) {
  std::string text = fmt::format("complete -c vmrun -n __fish_use_subcommand -a {} -d {}\n", command.name,
                                 fish_quoted(command.summary));
  const std::string within = fmt::format("complete -c vmrun -n '__fish_seen_subcommand_from {}'", command.name);
  for (const OptionInfo& option : command.options)
    text += fmt::format("{} -l {}{} -d {}\n", within, option.name, option.value.empty() ? "" : " -r",
                        fish_quoted(option.help));
  for (const Command& sub : command.subcommands)
    text += fmt::format("{} -a {} -d {}\n", within, sub.name, fish_quoted(sub.summary));
  if (takes(command, "NAME") && command.name != "new")
    text += within + (takes_kept(command) ? " -a '(__vmrun_vms; __vmrun_kept)'\n" : " -a '(__vmrun_vms)'\n");
  if (takes(command, "SPEC")) text += within + " -a '(__fish_complete_suffix .toml)'\n";
  if (takes(command, "FROM")) text += within + " -F\n";
  return text;
}

}  // namespace

std::string zsh_completion() {
  std::string script = R"zsh(#compdef vmrun
_vmrun_vms() {
  local base
  for base in ${VMRUN_RUN_DIR:-/run/vmrun ${XDG_RUNTIME_DIR:-/run/vmrun}/vmrun}; do compadd -- $base/*(N/:t); done
}
_vmrun_kept() {
  local base
  _vmrun_vms
  for base in ${VMRUN_STATE_DIR:-/var/lib/vmrun ${XDG_STATE_HOME:-$HOME/.local/state}/vmrun}; do compadd -- $base/*(N/:t); done
}
_vmrun() {
  local -a verbs
  verbs=(
)zsh";
  for (const Command& command : command_table())
    script += "    " + zsh_quoted(fmt::format("{}:{}", command.name, escaped(command.summary, ":\\", "\\"))) + "\n";
  script += R"zsh(  )
  if (( CURRENT == 2 )); then
    _describe -t commands command verbs
    _files -g '*.toml'
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
)zsh";
  for (const Command& command : command_table()) script += zsh_case(command);
  return script +
         "  *) _files ;;\n  esac\n}\nif [ \"$funcstack[1]\" = _vmrun ]; then _vmrun \"$@\"; else compdef _vmrun vmrun; "
         "fi\n";
}

std::string fish_completion() {
  std::string script = R"fish(# fish completion for vmrun
function __vmrun_vms
  set -l bases /run/vmrun $XDG_RUNTIME_DIR/vmrun
  set -q VMRUN_RUN_DIR; and set bases $VMRUN_RUN_DIR
  for base in $bases; path basename -- $base/*/; end
end
function __vmrun_kept
  set -l bases /var/lib/vmrun $HOME/.local/state/vmrun
  set -q VMRUN_STATE_DIR; and set bases $VMRUN_STATE_DIR
  for base in $bases; path basename -- $base/*/; end
end
complete -c vmrun -f
complete -c vmrun -n __fish_use_subcommand -a '(__fish_complete_suffix .toml)'
)fish";
  for (const Command& command : command_table()) script += fish_lines(command);
  return script;
}

}  // namespace launcher::commands
