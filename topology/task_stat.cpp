#include "topology/task_stat.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace topology {

std::optional<TaskStat> parse_stat(std::string_view text) {
  const std::size_t open = text.find('('), close = text.rfind(')');  // the name may hold anything
  if (open == text.npos || close == text.npos || close < open || close + 2 >= text.size()) return std::nullopt;
  TaskStat task;
  task.name = text.substr(open + 1, close - open - 1);
  task.state = text[close + 2];
  std::array<std::uint64_t, 40> fields{};
  std::size_t field = 4;
  std::string_view rest = text.substr(close + 3);
  for (; field < fields.size(); ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    if (rest.starts_with('-')) rest.remove_prefix(1);
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), fields.at(field));
    if (error != std::errc()) return std::nullopt;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  }
  task.kernel = (fields[9] & 0x00200000U) != 0;
  task.bound = (fields[9] & 0x04000000U) != 0;
  task.major_faults = fields[12];
  task.threads = static_cast<unsigned>(fields[20]);
  task.start = fields[22];
  task.pages = fields[24];
  task.cpu = static_cast<unsigned>(fields[39]);
  return task;
}

}  // namespace topology
