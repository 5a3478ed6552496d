// See report.hpp.
#include "launcher/import/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>

namespace launcher::inline import {

namespace {

std::array<std::size_t, 5> counts_of(const Report& report) {
  std::array<std::size_t, 5> counts{};
  for (const ReportRow& row : report) ++counts[static_cast<std::size_t>(row.verb)];
  return counts;
}

}  // namespace

int exit_code_of(const Report& report) {
  const auto counts = counts_of(report);
  return counts[static_cast<int>(Verb::refused)] > 0 ? 2 : counts[static_cast<int>(Verb::dropped)] > 0 ? 3 : 0;
}

std::string to_text(const Report& report) {
  constexpr std::size_t longest = 60;
  std::string text;
  for (int verb = static_cast<int>(Verb::refused); verb >= 0; --verb) {
    std::vector<const ReportRow*> rows;
    for (const ReportRow& row : report)
      if (static_cast<int>(row.verb) == verb) rows.push_back(&row);
    for (std::size_t i = 0, next = 0; i < rows.size(); i = next) {
      const ReportRow& row = *rows[i];
      for (next = i + 1; next < rows.size() && rows[next]->words == row.words;) ++next;
      std::string value = row.value.substr(0, longest) + (row.value.size() > longest ? "..." : "");
      std::ranges::replace(value, '\n', ' ');
      text += fmt::format("{:<8} {}{}{}{}: {}\n", name_of(row.verb), row.path,
                          row.absent      ? " (not there)"
                          : row.line == 0 ? ""
                                          : fmt::format(" (line {})", row.line),
                          value.empty() ? "" : " \"" + value + "\"",
                          next == i + 1 ? "" : fmt::format(" and {} more behind it", next - i - 1), row.words);
    }
  }
  const auto counts = counts_of(report);
  return text + fmt::format("{} kept, {} better, {} changed, {} dropped, {} refused\n", counts[0], counts[1], counts[2],
                            counts[3], counts[4]);
}

boost::json::object report_json(const Report& report, const std::string& spec) {
  boost::json::array rows;
  for (const ReportRow& row : report)
    rows.push_back({{"path", row.path},
                    {"line", row.line},
                    {"value", row.value},
                    {"verb", name_of(row.verb)},
                    {"words", row.words},
                    {"absent", row.absent}});
  return {{"version", 1}, {"exit_code", exit_code_of(report)}, {"spec", spec}, {"rows", std::move(rows)}};
}

}  // namespace launcher::import
