// Problems as a person reads them, and as JSON. The rule: what a user wrote is shown, never obeyed: no control
// character of it reaches the terminal.
#include "launcher/text/render_problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <tuple>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline text {

namespace {

constexpr unsigned widest_line = 100;  // display columns of a quoted line; longer ones are cut around the caret
constexpr unsigned kept_before = 40;   // of which this much stands before the caret

struct Style {
  const char *error = "", *arrow = "", *caret = "", *help = "", *off = "";
};
Style style(bool colour) {
  return colour ? Style{"\033[1;31m", "\033[34m", "\033[1;31m", "\033[1;36m", "\033[0m"} : Style{};
}

// Our own text may have line breaks (a list per node); all else of control is escaped.
std::string message(std::string_view text) {
  std::string safe;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    safe += (from ? "\n    " : "") + printable(text.substr(from, end - from));
    from = end + 1;
  }
  return safe;
}

struct Quote {
  std::string line, marks;  // the marks stand below what they mean
};

// Line and carets under columns [from, end), cut to widest_line columns; tabs stay tabs in both.
Quote quote(std::string_view line, unsigned from, unsigned end) {
  std::vector<std::pair<CodePoint, std::string_view>> points;
  for (std::string_view rest = line; !rest.empty(); rest.remove_prefix(points.back().first.bytes))
    points.emplace_back(decode_utf8(rest), rest);
  const auto width = [&](std::size_t i) { return points[i].first.value == '\t' ? 1 : display_width(points[i].first); };
  const std::size_t caret = std::min<std::size_t>(from - 1, points.size());
  std::size_t first = 0, last = points.size();
  unsigned total = 0;
  for (std::size_t i = 0; i < points.size(); ++i) total += width(i);
  if (total > widest_line) {
    unsigned before = 0;
    for (first = caret; first > 0 && before < kept_before; --first) before += width(first - 1);
    unsigned shown = 0;
    for (last = first; last < points.size() && shown < widest_line; ++last) shown += width(last);
  }
  Quote quoted;
  if (first > 0) quoted.line = "...", quoted.marks = "   ";
  for (std::size_t i = first; i < last; ++i) {
    const bool tab = points[i].first.value == '\t';
    quoted.line += tab ? "\t" : printable(points[i].first, points[i].second);
    const bool marked = i + 1 >= from && i + 1 < end;
    if (i + 1 < end)
      quoted.marks += marked ? std::string(std::max(1u, width(i)), '^') : tab ? "\t" : std::string(width(i), ' ');
  }
  if (caret >= points.size()) quoted.marks += '^';
  if (last < points.size()) quoted.line += "...";
  return quoted;
}

// The "-->" lines; "" for a problem of no place.
std::string place(const Position& position, const TomlDocument& document, const Style& style) {
  if (!position.origin.empty()) {
    const Quote quoted = quote(position.origin, position.column, position.end_column);
    return fmt::format("  {0}-->{1} {2}\n      {3}{4}{1}\n", style.arrow, style.off, quoted.line, style.caret,
                       quoted.marks);
  }
  if (position.file.empty()) return {};
  if (position.line == 0) return fmt::format("  {}-->{} {}\n", style.arrow, style.off, printable(position.file));
  const std::string number = std::to_string(position.line), margin(number.size(), ' ');
  const std::optional<std::string> line = document.source_line(position);
  if (!line)
    return fmt::format("  {}-->{} {}:{}:{}\n", style.arrow, style.off, printable(position.file), number,
                       position.column);
  const Quote quoted = quote(*line, position.column, position.end_column);
  return fmt::format("  {0}-->{1} {2}:{3}:{4}\n{0}{3} |{1} {5}\n{0}{6} |{1} {7}{8}{1}\n", style.arrow, style.off,
                     printable(position.file), number, position.column, quoted.line, margin, style.caret, quoted.marks);
}

// By place; what stands at one place stays in order. (std::stable_sort is not clean under clang with g++ 12's library.)
Problems sorted(const Problems& problems, const TomlDocument* document) {
  if (!document) return problems;
  std::vector<std::tuple<unsigned, unsigned, unsigned, std::size_t>> order;
  for (const Problem& problem : problems) {
    const Position at = document->position_of(problem);
    order.emplace_back(at.rank, at.line, at.column, order.size());
  }
  std::sort(order.begin(), order.end());
  Problems all;
  for (const auto& place : order) all.push_back(problems[std::get<3>(place)]);
  return all;
}

}  // namespace

std::string render(const Problem& problem, const TomlDocument* document, bool colour) {
  const Style s = style(colour);
  std::string out = fmt::format("{}error:{} {}{}{}\n", s.error, s.off, printable(problem.key),
                                problem.key.empty() ? "" : ": ", message(problem.what));
  if (document) out += place(document->position_of(problem), *document, s);
  if (!problem.help.empty()) out += fmt::format("{}help:{} {}\n", s.help, s.off, message(problem.help));
  return out;
}

std::string render(const Problems& problems, const TomlDocument* document, bool colour) {
  std::string out;
  for (const Problem& problem : sorted(problems, document))
    out += (out.empty() ? "" : "\n") + render(problem, document, colour);
  if (problems.size() > 1)
    out += fmt::format("\n{} problems{}; nothing was changed\n", problems.size(),
                       document && !document->file().empty() ? " in " + printable(document->file()) : "");
  return out;
}

std::string problems_to_json(const Problems& problems, const TomlDocument* document) {
  boost::json::array all;
  for (const Problem& problem : sorted(problems, document)) {
    boost::json::object entry = {
        {"key", printable(problem.key)}, {"what", message(problem.what)}, {"help", message(problem.help)}};
    const Position at = document ? document->position_of(problem) : Position{};
    entry["file"] = printable(at.file);
    entry["line"] = at.line;
    entry["column"] = at.column;
    if (!at.origin.empty()) entry["origin"] = printable(at.origin);
    all.push_back(std::move(entry));
  }
  return boost::json::serialize(all);
}

}  // namespace launcher::text
