// What the user can fix, as a value: which key, what is wrong, what would be right. The rule: a Problem knows no source
// position; the printer finds line and column from the key path, so everything before it stays a pure function.
#pragma once

#include <string>
#include <vector>

namespace launcher {

struct Problem {
  std::string key;  // "disk[0].path", "cpu.count", "" for the whole file
  std::string
      what;  // what was found and what was wanted: "'17K' is not a page size; wanted \"4K\", \"2M\", \"1G\" or \"auto\""
  std::string help;      // how to put it right; may be empty
  bool on_name = false;  // the caret goes under the key's name (an unknown key), not under its value
  friend bool operator==(const Problem&, const Problem&) = default;
};

using Problems = std::vector<Problem>;

}  // namespace launcher
