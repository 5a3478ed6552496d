// A subcommand's options and positional words. The rule: options.cpp is the only file with Boost.Program_options, and
// --help, completion and the man page are made from these tables.
#pragma once

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::commands {

struct OptionInfo {
  std::string_view name;   // "timeout"; literals all, for the whole table is built in each run of vmrun
  std::string_view value;  // "SECONDS"; "" for a flag
  std::string_view help;
  bool repeated = false;
  char letter = 0;  // 'o': also -o; 0: none
};

// Something is wrong with the command line itself: exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "; did you mean 'list'?" of the nearest of them; "": none is near.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

class Options {
 public:
  // words: the most positional words taken (NAME, SPEC, ...). rest: what stands behind the first is no option of ours.
  static Options parse(const std::vector<OptionInfo>& known, std::size_t words, const std::vector<std::string>& args,
                       bool rest = false);

  bool flag(const std::string& name) const { return values_.contains(name); }
  std::optional<std::string> value(const std::string& name) const;
  std::vector<std::string> all(const std::string& name) const;
  std::optional<double> number(const std::string& name) const;  // throws UsageError when it is none or negative
  const std::vector<std::string>& words() const { return words_; }
  const std::string& word(std::size_t index, const std::string& what) const;  // throws UsageError "wanted WHAT"

 private:
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> words_;
};

}  // namespace launcher::commands
