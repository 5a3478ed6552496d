// A shell's text as the words of the QEMU call in it. The rule: quotes, backslashes, comments, variables and arrays are read as a shell
// reads them; nothing is ever run, and what only a shell could say (a command's output, a variable of elsewhere) is marked.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline import {

struct ShellWord {
  std::string text;
  unsigned line = 0;    // from 1
  std::string unknown;  // what in it nobody here knows: "$(nproc)", "${disk}"; "": all is known
};

struct ShellText {
  std::vector<std::vector<ShellWord>> commands = {};
  bool unclosed = false;  // a quote of the last
};
ShellText read_shell(std::string_view text);  // argv_shell.cpp

struct QemuCall {
  std::string program;
  std::vector<ShellWord> before;  // in front of it: "taskset", "-c", "0-3"
  std::vector<ShellWord> words;   // behind it
};

constexpr std::size_t most_argv = 1 << 20;
std::expected<QemuCall, std::string> find_qemu_call(std::string_view text);  // or why there is none

}  // namespace launcher::import
