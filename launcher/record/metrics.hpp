// Numbers out of what a benchmark printed: by a person's regular expressions, and from the JSON of fio and iperf3. The rule: a number that
// is not there is absent, never 0.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline record {

struct Metric {
  std::string name;
  std::string pattern;  // ECMAScript; its first group is the number; looked for in each line
  std::string of =
      {};  // several numbers in one run, which is one sample, become their "" (median), "max", "min" or "sum"
};

// "latency=avg= *([0-9.]+)", "max:latency=Max: *([0-9.]+)". Error: what is wrong with it.
std::expected<Metric, std::string> metric_from(std::string_view text);

std::map<std::string, double> read_metrics(const std::string& output, const std::vector<Metric>& metrics);

}  // namespace launcher::record
