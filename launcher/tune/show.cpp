// What `vmrun host tune` changes and leaves, for a person and for a program.
#include <fmt/format.h>

#include <boost/json/array.hpp>

#include "launcher/text/printable.hpp"
#include "launcher/tune/tuning.hpp"

namespace launcher::inline tune {

namespace {

bool alike(const SettingChange& a, const SettingChange& b) {
  return a.files == b.files && a.from == b.from && a.to == b.to;
}

std::string as_glob(std::string pattern) {
  for (std::size_t at = 0; (at = pattern.find('#', at)) != pattern.npos;) pattern[at] = '*';
  return pattern;
}

}  // namespace

std::string tuning_text(const Tuning& tuning) {
  std::string text;
  std::vector<bool> shown(tuning.changes.size());
  for (std::size_t i = 0; i < tuning.changes.size(); ++i) {
    if (shown[i]) continue;
    const SettingChange& change = tuning.changes[i];
    std::size_t files = 0;
    for (std::size_t j = i; j < tuning.changes.size(); ++j)
      if (alike(change, tuning.changes[j])) shown[j] = true, ++files;
    const std::string where = files == 1 ? change.path : fmt::format("{} ({} files)", as_glob(change.files), files);
    text += fmt::format(
        "change   {}: {}\n         from     {}\n         to       {}\n         why      {} (guide {})\n",
        change.setting, printable(where), printable(change.from), printable(change.to), change.why, change.guide);
    if (!change.cost.empty() && change.cost != "none") text += fmt::format("         cost     {}\n", change.cost);
  }
  for (const LeftAlone& left : tuning.left) text += fmt::format("leave    {}: {}\n", left.setting, printable(left.why));
  return text;
}

boost::json::object tuning_json(const Tuning& tuning) {
  boost::json::array changes, left;
  for (const SettingChange& change : tuning.changes)
    changes.push_back(boost::json::object{{"setting", change.setting},
                                          {"path", change.path},
                                          {"from", change.from},
                                          {"to", change.to},
                                          {"why", change.why},
                                          {"guide", change.guide},
                                          {"cost", change.cost}});
  for (const LeftAlone& one : tuning.left)
    left.push_back(boost::json::object{{"setting", one.setting}, {"why", one.why}});
  return {{"profile", tuning.profile},
          {"cpus", tuning.only.to_string()},
          {"changes", std::move(changes)},
          {"left", std::move(left)}};
}

}  // namespace launcher::tune
