// The table of subcommands. Adding one is one file here and one row in command_table().
#pragma once

#include <string>
#include <vector>

#include "launcher/commands/options.hpp"

namespace launcher::commands {

// Exit codes, the same for every command.
// disturbed: of `watch`. unproven: of `verify` and `watch`, when nothing was found wrong and something could not be read.
enum Exit { done = 0, failed = 1, problems = 2, left_over = 3, disturbed = 4, unproven = 5 };

struct Command {
  std::string name;
  std::string usage;    // "plan SPEC [OPTIONS]"
  std::string summary;  // one line
  std::vector<OptionInfo> options;
  std::size_t words = 0;
  int (*run)(const Options&);
  std::vector<Command> subcommands = {};  // "host check": chosen by the next word
  bool rest = false;                      // after the first word all others are taken as they are, options or not
};
const std::vector<Command>& command_table();
std::vector<Command> host_subcommands();

// The row that the words name, a subcommand's if there is one; the words it took are gone from them. nullptr: none.
const Command* find_command(std::vector<std::string>& words);

int new_vm(const Options&);
int validate(const Options&);
int enable(const Options&);
int disable(const Options&);
int edit(const Options&);
int view(const Options&);
int plan(const Options&);
int guest_setup(const Options&);
int lock(const Options&);
int diff(const Options&);
int replay(const Options&);
int measure(const Options&);
int ablate(const Options&);
int run(const Options&);
int start(const Options&);
int list(const Options&);
int show(const Options&);
int verify(const Options&);
int watch(const Options&);
int metrics(const Options&);
int stop(const Options&);
int kill(const Options&);
int pause(const Options&);
int resume(const Options&);
int reset(const Options&);
int ssh(const Options&);
int exec(const Options&);
int copy(const Options&);
int console(const Options&);
int qmp(const Options&);
int agent(const Options&);
int set(const Options&);
int wait(const Options&);
int log(const Options&);
int forget(const Options&);
int import(const Options&);
int export_spec(const Options&);
int recover(const Options&);
int host(const Options&);
int host_check(const Options&);
int host_tune(const Options&);
int host_revert(const Options&);
int host_unpersist(const Options&);
int schema(const Options&);
int completion(const Options&);
int man(const Options&);

}  // namespace launcher::commands
