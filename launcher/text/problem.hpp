// What the user can fix, as a value: which key, what is wrong, what would be right. The rule: a Problem knows no source
// position; the printer finds line and column from the key path, so everything before it stays a pure function.
#pragma once

#include <string>
#include <vector>

namespace launcher::inline text {

struct Problem {
  std::string key;  // "disk[0].path", "cpu.count", "" for the whole file
  std::string
      what;  // what was found and what was wanted: "'17K' is not a page size; wanted \"4K\", \"2M\", \"1G\" or \"auto\""
  std::string help;      // how to put it right; may be empty
  bool on_name = false;  // the caret goes under the key's name (an unknown key), not under its value
  friend bool operator==(const Problem&, const Problem&) = default;
};

using Problems = std::vector<Problem>;

std::string lowered(std::string_view text);  // ASCII
// "did you mean": the closest candidate within a third of the word's length, "" if none.
std::string closest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace launcher::text
