#include "launcher/guest/half.hpp"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "launcher/guest/agent.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline guest {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds longest_run{300};  // emulated on a busy host, a script of forks takes minutes

GuestWord run_there(::qmp::Client& agent, const std::string& script, const std::string& word,
                    const std::stop_token& stop = {}) {
  const Clock::time_point end = Clock::now() + longest_run;
  try {
    const Ran ran = run_by_agent(
        agent, {"/bin/sh", "-s", word}, script,
        [&] {
          if (Clock::now() > end || stop.stop_requested()) throw std::runtime_error("it took too long");
        },
        std::chrono::seconds(30));
    return {ran.out, ""};
  } catch (const std::exception& error) {
    return {std::nullopt, std::string("its agent could not run a shell: ") + error.what()};
  }
}

}  // namespace

GuestWord tell_guest(const std::filesystem::path& run_dir, const std::string& script, const std::string& word) {
  auto agent = reach_agent(run_dir, std::chrono::seconds(2));
  if (!agent) return {std::nullopt, "no agent answers in the guest"};
  return run_there(*agent, script, word);
}

std::vector<std::string> misses(const std::vector<GuestSetting>& settings, const std::string& rows) {
  const std::map<std::size_t, GuestReading> read = read_guest_rows(rows);
  std::vector<std::string> all;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const auto found = read.find(i);
    if (found == read.end())
      all.push_back(fmt::format("{}: nothing was said of it", settings[i].what));
    else if (found->second.is != settings[i].wanted)
      all.push_back(fmt::format("{}: wanted {}, is {} ({})", settings[i].what, settings[i].wanted,
                                printable(found->second.is), printable(found->second.where)));
  }
  return all;
}

GuestSetter::GuestSetter(std::filesystem::path run_dir, const std::string& vm, std::vector<GuestSetting> settings,
                         Told told)  // NOLINTNEXTLINE(bugprone-use-after-move): captures are made in their order
    : thread_([run_dir = std::move(run_dir), script = guest_script(vm, settings), settings = std::move(settings),
               told = std::move(told)](const std::stop_token& stop) {
        constexpr std::chrono::seconds between{2};
        std::mutex mutex;
        std::condition_variable_any pause;
        std::unique_lock lock(mutex);
        while (!pause.wait_for(lock, stop, between, [] { return false; }) && !stop.stop_requested()) {
          auto agent = reach_agent(run_dir, std::chrono::milliseconds(500));
          if (!agent) continue;
          const GuestWord word = run_there(*agent, script, "set-rows", stop);
          if (!word.rows) return told("guest: " + word.why);
          for (const std::string& miss : misses(settings, *word.rows)) told("guest: not taken: " + miss);
          return;
        }
      }) {}

}  // namespace launcher::guest
