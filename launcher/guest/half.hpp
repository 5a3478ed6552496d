// The guest's half ([guest]), set and read by its agent. The rule: what the guest says of itself is shown, and decides nothing here.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "launcher/devices/guest_settings.hpp"

namespace launcher::inline guest {

struct GuestWord {
  std::optional<std::string> rows;
  std::string why;  // there are none
};
// Runs guest_script()'s text there, with a word of its.
GuestWord tell_guest(const std::filesystem::path& run_dir, const std::string& script, const std::string& word);

// "swappiness: wanted 10, is 60 (/proc/...)" for each that does not hold.
std::vector<std::string> misses(const std::vector<GuestSetting>& settings, const std::string& rows);

// Waits until the agent answers, sets what does not hold, and tells what the guest did not take.
class GuestSetter {
 public:
  using Told = std::function<void(const std::string& words)>;
  GuestSetter(std::filesystem::path run_dir, const std::string& vm, std::vector<GuestSetting> settings, Told told);

 private:
  std::jthread thread_;
};

}  // namespace launcher::guest
