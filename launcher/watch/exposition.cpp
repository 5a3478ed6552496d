#include "launcher/watch/exposition.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace launcher::inline watch {

namespace {

// In a label's value '\\', '"' and the line's end are escaped; in a help text, by the Prometheus format, '"' is not.
std::string escaped(const std::string& text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || (c == '"' && quotes)) out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

std::string labels_text(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels)
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", name, escaped(value, true));
  return text.empty() ? "" : "{" + text + "}";
}

}  // namespace

Labels with(Labels labels, const std::string& name, const std::string& value) {
  labels.emplace_back(name, value);
  return labels;
}

Metrics::Family& Metrics::family(const std::string& name, const char* type, const std::string& help) {
  const auto found = std::ranges::find(families_, name, &Family::name);
  return found != families_.end() ? *found : families_.emplace_back(Family{name, type, help, {}});
}

void Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels, double value) {
  family(name, "gauge", help).samples.push_back({"", labels, value});
}

void Metrics::counter(const std::string& name, const std::string& help, const Labels& labels, double value) {
  family(name, "counter", help).samples.push_back({"_total", labels, value});
}

void Metrics::histogram(const std::string& name, const std::string& help, const Labels& labels,
                        const std::vector<double>& bounds, const std::vector<std::uint64_t>& counts) {
  Family& into = family(name, "histogram", help);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    sum += counts[i];
    Labels with = labels;
    with.emplace_back("le", i < bounds.size() ? fmt::format("{}", bounds[i]) : "+Inf");
    into.samples.push_back({"_bucket", std::move(with), static_cast<double>(sum)});
  }
  into.samples.push_back({"_count", labels, static_cast<double>(sum)});
}

std::string Metrics::text(Exposition form) const {
  std::string text;
  for (const Family& one : families_) {
    const std::string head = one.name + (one.type == "counter" && form == Exposition::prometheus ? "_total" : "");
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", head, escaped(one.help, form == Exposition::openmetrics), head,
                        one.type);
    for (const Sample& sample : one.samples)
      text += fmt::format("{}{}{} {}\n", one.name, sample.suffix, labels_text(sample.labels), sample.value);
  }
  return form == Exposition::openmetrics ? text + "# EOF\n" : text;
}

}  // namespace launcher::watch
