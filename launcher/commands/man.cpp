// `vmrun man`: the manual page, made from the table of commands.
#include <fmt/format.h>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"

namespace launcher::commands {

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
      ".br\n\\fBdiff\\fR: 0 nothing differs; 1 something does; 2 a problem.\n"
      ".br\n\\fBreplay\\fR, \\fBrun \\-\\-locked\\fR: 2 also where something has drifted: it is named, and nothing was "
      "started.\n"
      ".br\n\\fBmeasure\\fR: 1 when too many runs failed; \\fBablate\\fR: 1 when the VM differed from itself.\n"
      ".br\n\\fBhost check\\fR: 0 no problem was found (there may be warnings and advice); 1 at least one.\n"
      ".SH FILES\n.TP\n.I /etc/vmrun/host.toml\nhost-wide settings\n.TP\n.I /run/vmrun/NAME\na running VM's plan, "
      "journal, state and sockets\n";
  print(text);
  return done;
}

}  // namespace launcher::commands
