#include "launcher/life/last_words.hpp"

#include <fstream>
#include <sstream>

namespace launcher::inline life {

std::string log_of(const LaunchPlan& plan, const std::string& role) {
  for (const PlannedStep& planned : plan.steps) {
    const auto* start = std::get_if<StartHelper>(&planned.step);
    if (start != nullptr && start->role == role) return start->log;
  }
  return {};
}

std::string last_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  std::string all = text.str();
  constexpr std::size_t most = 4000;
  if (all.size() > most) all = "..." + all.substr(all.size() - most);
  while (!all.empty() && all.back() == '\n') all.pop_back();
  return all;
}

std::string whole_story(const std::exception& error) {
  std::string text = error.what();
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& inner) {
    const std::string rest = whole_story(inner);
    // "could not open X for appending: open X for appending: Permission denied" says one thing twice
    const std::size_t colon = rest.rfind(": ");
    const bool doubled = colon != std::string::npos && text.ends_with(rest.substr(0, colon));
    text += doubled ? rest.substr(colon) : ": " + rest;
  }
  return text;
}

}  // namespace launcher::life
