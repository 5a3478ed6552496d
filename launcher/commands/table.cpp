// The table of subcommands; completion and man page are printed from it.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/commands/commands.hpp"

namespace launcher::commands {

namespace {

const OptionInfo json{"json", "", "print JSON for a program"};
const OptionInfo overrides{"set", "KEY=VALUE", "override a key of the spec (may be given several times)", true};
const OptionInfo stop_timeout{"stop-timeout", "SECONDS",
                              "how long the guest may take to power down when vmrun is told to stop (60)"};
const OptionInfo timings{"timings", "", "print how long each stage of the start took"};
const OptionInfo timeout{"timeout", "SECONDS", "how long to wait"};

}  // namespace

// NOLINTNEXTLINE(readability-function-size): a table
const std::vector<Command>& command_table() {
  static const std::vector<Command> table = {
      {"run",
       "run SPEC",
       "start the VM, stay with it, and put everything back when it ends (also: vmrun SPEC)",
       {overrides,
        json,
        timings,
        stop_timeout,
        {"no-console", "", "do not connect this terminal to the guest's console"}},
       1,
       run},
      {"start",
       "start SPEC",
       "start the VM and return when it runs",
       {overrides, json, timings, stop_timeout},
       1,
       start},
      {"plan",
       "plan SPEC",
       "show what run would do, without doing anything",
       {overrides,
        json,
        {"explain", "", "give each argument's and step's reason and origin"},
        {"shell", "", "print only the command line, for a shell"},
        {"host", "FILE",
         "plan for another machine: a file of `vmrun host --json`, hwloc XML, or synthetic:DESCRIPTION"}},
       1,
       plan},
      {"list", "list", "the VMs that run here", {json}, 0, list},
      {"show", "show NAME", "a VM's threads and memory: where they should be and where they are", {json}, 1, show},
      {"stop",
       "stop NAME",
       "power the guest down; if it does not: quit, SIGTERM, SIGKILL",
       {json, {"timeout", "SECONDS", "how long the guest may take to power down (60)"}},
       1,
       stop},
      {"kill", "kill NAME", "end it at once", {json}, 1, kill},
      {"pause", "pause NAME", "stop its vCPUs", {json}, 1, pause},
      {"resume", "resume NAME", "let its vCPUs run again", {json}, 1, resume},
      {"reset", "reset NAME", "press its reset button", {json}, 1, reset},
      {"console", "console NAME", "connect this terminal to its serial console (Ctrl-] leaves)", {}, 1, console},
      {"qmp",
       "qmp NAME COMMAND",
       "send a QMP command, by name or as JSON, and print what comes back",
       {json, timeout},
       2,
       qmp},
      {"agent",
       "agent NAME COMMAND",
       "send a command to the guest's agent (qemu-ga), by name or as JSON, and print what comes back",
       {json, timeout},
       2,
       agent},
      {"set",
       "set NAME KEY=SIZE",
       "change a running VM: memory=SIZE (up to memory.max), or balloon=SIZE",
       {json, timeout},
       2,
       set},
      {"wait", "wait NAME", "wait until it has ended and everything is put back", {json, timeout}, 1, wait},
      {"recover", "recover", "put back what a crash of vmrun or of this host left", {json}, 0, recover},
      {"host",
       "host",
       "this machine as vmrun sees it, and who has which CPUs and pages",
       {json, {"svg", "FILE", "draw it, with the running VMs on it, by hwloc's lstopo"}},
       0,
       host,
       host_subcommands()},
      {"schema", "schema", "print the JSON schema of a spec, for an editor's completion", {}, 0, schema},
      {"completion", "completion", "print a completion script for bash", {}, 0, completion},
      {"man", "man", "print the manual page", {}, 0, man},
  };
  return table;
}

const Command* find_command(std::vector<std::string>& words) {
  const std::vector<Command>* rows = &command_table();
  const Command* found = nullptr;
  while (!words.empty()) {
    const auto row = std::find_if(rows->begin(), rows->end(), [&](const Command& c) { return c.name == words[0]; });
    if (row == rows->end()) break;
    found = &*row;
    rows = &row->subcommands;
    words.erase(words.begin());
  }
  return found;
}

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

namespace {

std::string man_entry(const Command& command) {
  std::string text = fmt::format(".TP\n.B {}\n{}\n", command.usage, command.summary);
  for (const OptionInfo& option : command.options)
    text += fmt::format(".br\n\\fB\\-\\-{}\\fR {}: {}\n", option.name, option.value, option.help);
  return text;
}

}  // namespace

int man(const Options&) {
  std::string text =
      ".TH VMRUN 1\n.SH NAME\nvmrun \\- one TOML file to a placed, pinned QEMU VM\n.SH SYNOPSIS\n.B vmrun\n.I "
      "SPEC\n.br\n.B vmrun\n.I COMMAND\n[\\fIOPTIONS\\fR]\n"
      ".SH DESCRIPTION\nReads a TOML spec of one virtual machine, works out where it fits on this host, reserves huge "
      "pages, starts QEMU bound to its nodes,\n"
      "pins every thread before the guest runs its first instruction, and puts everything back when the VM ends.\n.SH "
      "COMMANDS\n";
  for (const Command& command : command_table()) {
    text += man_entry(command);
    for (const Command& sub : command.subcommands) text += man_entry(sub);
  }
  text +=
      ".SH EXIT STATUS\n0 done; 1 failed and undone; 2 problems in the spec, the usage or the host's fit; 3 not "
      "everything could be undone.\n.br\n\\fBhost check\\fR: 0 without a finding of level problem, 1 with one.\n"
      ".br\n\\fBhost check\\fR: 0 no problem was found (there may be warnings and advice); 1 at least one.\n"
      ".SH FILES\n.TP\n.I /etc/vmrun/host.toml\nhost-wide settings\n.TP\n.I /run/vmrun/NAME\na running VM's plan, "
      "journal, state and sockets\n";
  print(text);
  return done;
}

}  // namespace launcher::commands
