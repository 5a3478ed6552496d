// Findings for a person and for a program.
#include <fmt/format.h>

#include <array>
#include <boost/json/serialize.hpp>

#include "launcher/checks/audit.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline checks {

BOOST_DESCRIBE_ENUM(Level, ok, advice, warning, problem)
BOOST_DESCRIBE_STRUCT(Finding, (),
                      (level, check, subject, found, read, wanted, why, guide, matters, now, lasting, cost))

namespace {

struct Summary {
  unsigned problems = 0, warnings = 0, advice = 0, ok = 0;
};
BOOST_DESCRIBE_STRUCT(Summary, (), (problems, warnings, advice, ok))

struct Report {
  Summary summary;
  std::vector<Finding> findings;
};
BOOST_DESCRIBE_STRUCT(Report, (), (summary, findings))

Summary count(const std::vector<Finding>& findings) {
  Summary sum;
  for (const Finding& finding : findings) {
    std::array counters{&sum.ok, &sum.advice, &sum.warnings, &sum.problems};
    ++*counters[static_cast<std::size_t>(finding.level)];
  }
  return sum;
}

std::string plural(unsigned count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string where(const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) text += (text.empty() ? "" : ", ") + path;
  return text;
}

std::string heading(const Finding& finding) {
  return fmt::format("{:<8} {}: {}{}\n", boost::describe::enum_to_string(finding.level, "?"), finding.check,
                     finding.subject.empty() ? "" : finding.subject + ": ", finding.found);
}

std::string in_full(const Finding& finding) {
  std::string text = heading(finding);
  const std::string guide = finding.guide.empty() ? "" : fmt::format(" (guide {})", finding.guide);
  const std::array<std::pair<const char*, std::string>, 7> rows = {{{"read", where(finding.read)},
                                                                    {"wanted", finding.wanted},
                                                                    {"why", finding.why + guide},
                                                                    {"matters", finding.matters},
                                                                    {"now", finding.now},
                                                                    {"lasting", finding.lasting},
                                                                    {"cost", finding.cost}}};
  for (const auto& [name, value] : rows)
    if (!value.empty()) text += fmt::format("         {:<8} {}\n", name, value);
  return text;
}

}  // namespace

std::string findings_text(const std::vector<Finding>& findings, bool verbose) {
  std::string text, well, answered;
  for (const Level level : {Level::problem, Level::warning, Level::advice}) {
    for (const Finding& finding : findings)
      if (finding.level == level) text += in_full(finding) + "\n";
  }
  std::string last;
  for (const Finding& finding : findings) {
    if (finding.level != Level::ok) continue;
    if (verbose) {
      text += heading(finding);
      if (!finding.read.empty()) text += fmt::format("         {:<8} {}\n", "read", where(finding.read));
    } else if (finding.check != last && finding.why.empty()) {
      well += (well.empty() ? "" : ", ") + finding.check;
      last = finding.check;
    }
    if (!finding.why.empty())
      answered += fmt::format("leave    {}: {}{}\n         {:<8} {} (guide {})\n", finding.check,
                              finding.subject.empty() ? "" : finding.subject + ": ", finding.found, "why", finding.why,
                              finding.guide);
  }
  if (!answered.empty())
    text += (verbose ? "\n" : "") + std::string("Advice that does not hold here:\n") + answered + "\n";
  if (!well.empty()) text += "well:    " + well + "\n\n";
  const Summary sum = count(findings);
  text += fmt::format("{}, {}, {} of advice, {} ok\n", plural(sum.problems, "problem", "problems"),
                      plural(sum.warnings, "warning", "warnings"), plural(sum.advice, "piece", "pieces"), sum.ok);
  return text;
}

std::string findings_json(const std::vector<Finding>& findings) {
  return boost::json::serialize(topology::json::write(Report{count(findings), findings}));
}

}  // namespace launcher::checks
