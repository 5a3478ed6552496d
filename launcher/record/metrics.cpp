#include "launcher/record/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/stream_parser.hpp>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <regex>
#include <sstream>

#include "launcher/record/statistics.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

std::optional<double> number_in(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

double one_of(const std::vector<double>& numbers, std::string_view of) {
  if (of == "max") return std::ranges::max(numbers);
  if (of == "min") return std::ranges::min(numbers);
  if (of == "sum") return std::accumulate(numbers.begin(), numbers.end(), 0.0);
  return median_of(numbers);
}

// "end/sum_received/bits_per_second": keys may hold dots
std::optional<double> number_at(const json::value& from, std::string_view path) {
  const json::value* here = &from;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (!here->is_object()) return std::nullopt;
    here = here->get_object().if_contains(json::string_view(path.substr(0, slash)));
    if (here == nullptr) return std::nullopt;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  boost::system::error_code error;
  const double number = here->to_number<double>(error);
  return error || !std::isfinite(number) ? std::nullopt : std::optional(number);
}

// Of all its jobs: rates are added up, a mean latency is weighted by requests, of a percentile the worst counts.
void add_fio(const json::object& fio, std::map<std::string, double>& found) {
  const json::value* jobs = fio.if_contains("jobs");
  if (jobs == nullptr || !jobs->is_array()) return;
  for (const std::string way : {"read", "write"}) {
    double requests = 0, iops = 0, bytes = 0, latency = 0, worst = -1;
    for (const json::value& job : jobs->get_array()) {
      const double done = number_at(job, way + "/total_ios").value_or(0);
      if (done <= 0) continue;
      requests += done;
      iops += number_at(job, way + "/iops").value_or(0);
      bytes += number_at(job, way + "/bw_bytes").value_or(0);
      latency += done * number_at(job, way + "/lat_ns/mean").value_or(0);
      worst = std::max(worst, number_at(job, way + "/clat_ns/percentile/99.000000").value_or(-1));
    }
    if (requests <= 0) continue;
    found["fio." + way + ".iops"] = iops;
    found["fio." + way + ".bytes_per_second"] = bytes;
    found["fio." + way + ".latency_ns"] = latency / requests;
    if (worst >= 0) found["fio." + way + ".p99_ns"] = worst;
  }
}

void add_iperf3(const json::object& iperf, std::map<std::string, double>& found) {
  struct Place {
    std::string_view name, path;
  };
  static constexpr std::array places{
      Place{"iperf3.bits_per_second", "end/sum/bits_per_second"},  // UDP
      Place{"iperf3.jitter_ms", "end/sum/jitter_ms"},
      Place{"iperf3.lost_percent", "end/sum/lost_percent"},
      Place{"iperf3.bits_per_second", "end/sum_received/bits_per_second"},
      Place{"iperf3.retransmits", "end/sum_sent/retransmits"},
  };
  const json::value whole(iperf);
  for (const Place& place : places)
    if (const auto number = number_at(whole, place.path)) found[std::string(place.name)] = *number;
}

void add_known(const json::value& read, std::map<std::string, double>& found) {
  if (!read.is_object()) return;
  const json::object& object = read.get_object();
  if (object.contains("fio version")) add_fio(object, found);
  if (object.contains("start") && object.contains("end")) add_iperf3(object, found);
}

// The JSON in it, one after the other: words may stand before, between and after. What is none is left at its first brace, and the
// next one begins a line.
void add_known_json(const std::string& output, std::map<std::string, double>& found) {
  for (std::size_t at = output.find('{'); at != output.npos;) {
    json::stream_parser parser;
    boost::system::error_code error;
    const std::size_t read = parser.write_some(output.data() + at, output.size() - at, error);
    if (!error && parser.done()) {
      add_known(parser.release(), found);
      at = output.find('{', at + read);
    } else {
      const std::size_t line = output.find("\n{", at);
      at = line == output.npos ? line : line + 1;
    }
  }
}

}  // namespace

std::expected<Metric, std::string> metric_from(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == text.npos || equals == 0)
    return std::unexpected(fmt::format("'{}': wanted NAME=REGEX, such as 'latency=avg=([0-9.]+)'", text));
  Metric metric{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
  for (const std::string_view of : {"max", "min", "sum"})
    if (metric.name.starts_with(std::string(of) + ":")) {
      metric.of = of;
      metric.name.erase(0, of.size() + 1);
    }
  if (metric.name.empty()) return std::unexpected(fmt::format("'{}' has no name", text));
  try {
    if (std::regex(metric.pattern).mark_count() < 1)
      return std::unexpected(fmt::format("'{}' has no group: put the number in brackets, '([0-9.]+)'", metric.pattern));
  } catch (const std::regex_error& error) {
    return std::unexpected(fmt::format("'{}' is no regular expression: {}", metric.pattern, error.what()));
  }
  return metric;
}

std::map<std::string, double> read_metrics(const std::string& output, const std::vector<Metric>& metrics) {
  std::map<std::string, double> found;
  add_known_json(output, found);
  for (const Metric& metric : metrics) {
    const std::regex pattern(metric.pattern);
    std::vector<double> numbers;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
      constexpr std::size_t longest = 4096;  // std::regex takes stack for each character
      line.resize(std::min(line.size(), longest));
      std::smatch match;
      if (std::regex_search(line, match, pattern))
        if (const auto number = number_in(match[1].str())) numbers.push_back(*number);
    }
    if (!numbers.empty()) found[metric.name] = one_of(numbers, metric.of);
  }
  return found;
}

}  // namespace launcher::record
