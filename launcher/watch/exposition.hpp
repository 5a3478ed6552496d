// Metrics as text that a scraper reads, in the Prometheus text format 0.0.4 or as OpenMetrics 1.0. The rule: a family's samples stand
// together below its head, whatever order they came in, and labels hold anything.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace launcher::inline watch {

enum class Exposition { prometheus, openmetrics };

using Labels = std::vector<std::pair<std::string, std::string>>;

Labels with(Labels labels, const std::string& name, const std::string& value);

class Metrics {
 public:
  void gauge(const std::string& name, const std::string& help, const Labels& labels, double value);
  void counter(const std::string& name, const std::string& help, const Labels& labels,
               double value);  // name without _total
  // bounds: upper ones of all buckets but the last; counts: each bucket's own, one more than bounds.
  void histogram(const std::string& name, const std::string& help, const Labels& labels,
                 const std::vector<double>& bounds, const std::vector<std::uint64_t>& counts);
  std::string text(Exposition form) const;

 private:
  struct Sample {
    std::string suffix;  // "", "_total", "_bucket", ...
    Labels labels;
    double value = 0;
  };
  struct Family {
    std::string name, type, help;
    std::vector<Sample> samples;
  };
  Family& family(const std::string& name, const char* type, const std::string& help);
  std::vector<Family> families_;
};

}  // namespace launcher::watch
