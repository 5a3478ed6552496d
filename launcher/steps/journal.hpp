// The journal of one VM: the undos that are still owed. The rule: a record has a format version; precheck, then begin(), then the
// step, then done(); what cannot be read is kept and told, and then nothing of it is undone. A last line without its newline is a step
// never begun.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/steps/undo.hpp"

namespace launcher::inline steps {

// One line, a JSON object and one write(2), of each: {"version":2,"begin":N,"undo":{...}}, {"version":2,"done":N},
// {"version":2,"undoing":N,"from":TOTAL}, {"version":2,"undone":N}. Version 1 had other kinds of undos (old_kinds); version 0
// {"undo":N,"step":{...}} and {"undone":N}, without a mark that a step was done.
constexpr int record_version = 2;

struct Owed {
  std::size_t number = 0;
  Undo undo;
  bool done = false;                        // its step was; else it may have been
  std::optional<std::uint64_t> begun = {};  // its undo was begun, from this value
  friend bool operator==(const Owed&, const Owed&) = default;
};

struct JournalText {
  std::vector<Owed> owed;               // oldest first
  std::vector<std::string> unreadable;  // "line 3: unknown kind 'x'"
};
JournalText parse_journal(std::string_view text);  // whatever the bytes are (fuzzed)

class Journal {
 public:
  explicit Journal(std::filesystem::path file) : file_(std::move(file)) {}

  // From here on what this process writes is remembered, so that its undos are known even where the file is gone or its disk is full.
  void remember() { memory_ = std::make_shared<JournalText>(); }
  JournalText read() const;

  void begin(std::size_t number,
             const Undo& undo) const;            // throws where it cannot be written: then the step must not be done
  void done(std::size_t number) const noexcept;  // these only tell: what is not written may be undone once more
  void undoing(std::size_t number, std::uint64_t from) const noexcept;
  void undone(std::size_t number) const noexcept;

 private:
  void append(const std::string& line) const;
  Owed* find(std::size_t number) const;

  std::filesystem::path file_;
  std::shared_ptr<JournalText> memory_;
};

}  // namespace launcher::steps
