// What each run of a VM leaves on record, beside its state: when, why it ended, exit codes, the last words of guest and QEMU.
// The rule: bounded in number and size, and whatever lies there is read with care, for the run itself never depends on it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"

namespace launcher::inline life {

// How long a stage of the start took.
struct StageTime {
  std::string stage;  // "plan", "QEMU up", ...
  std::int64_t us = 0;
  friend bool operator==(const StageTime&, const StageTime&) = default;
};

struct RunRecord {
  std::string name;
  ProcessId keeper;          // the vmrun that ran it: tells this run from others of the name
  std::int64_t started = 0;  // unix seconds
  std::int64_t ended = 0;    // 0: nobody saw its end (yet)
  std::string how;  // "powered-off", "quit", "killed", "failed", "panicked", "ended", "not-started"; "" without an end
  std::string reason;                                  // the same for a person
  bool asked = false;                                  // somebody told vmrun to end it
  int qemu_exit = 0;                                   // 128 + signal when it was killed
  int exit_code = 0;                                   // vmrun's own
  std::vector<std::string> left;                       // what could not be undone
  std::string console, qemu;                           // what the guest's console and QEMU said last
  std::optional<std::vector<std::string>> cut = {};    // "qemu.log: 4096 bytes were cut"; older records have none
  std::optional<std::vector<StageTime>> timings = {};  // in their order, of a start that came to its end
  friend bool operator==(const RunRecord&, const RunRecord&) = default;
};

constexpr std::size_t runs_kept = 10;          // of one VM
constexpr std::size_t last_words_kept = 4000;  // bytes of each

std::filesystem::path runs_directory(const std::filesystem::path& state_base, const std::string& name);

// A second one of the same run replaces the first; the oldest beyond runs_kept go. Throws std::exception.
void write_record(const std::filesystem::path& runs, RunRecord record);

std::vector<RunRecord> read_records(
    const std::filesystem::path& runs);  // oldest first; what cannot be read is left out
std::vector<std::string> recorded_names(const std::filesystem::path& state_base);  // sorted

std::string to_json(const RunRecord& record);

// "the guest powered off", or that nobody saw it end.
std::string ending_of(const RunRecord& record);

}  // namespace launcher::life
