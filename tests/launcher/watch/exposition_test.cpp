// Metrics as text, compared whole: families together, counters by each format's own rule, labels that hold anything.
#include "launcher/watch/exposition.hpp"

#include <doctest/doctest.h>

namespace launcher::inline watch {

TEST_CASE("both formats, whole") {
  Metrics metrics;
  metrics.counter("a_seconds", "Time\nof a", {{"domain", "x\"\\\ny"}}, 1.5);
  metrics.gauge("b", "B \"b\"", {}, 3);
  metrics.counter("a_seconds", "ignored", {{"domain", "z"}}, 1e12);
  metrics.histogram("h_seconds", "H", {{"vcpu", "0"}}, {1e-9, 2e-9}, {5, 0, 7});
  const std::string samples =
      "a_seconds_total{domain=\"x\\\"\\\\\\ny\"} 1.5\na_seconds_total{domain=\"z\"} 1000000000000\n";
  const std::string rest =
      "# TYPE b gauge\nb 3\n# HELP h_seconds H\n# TYPE h_seconds histogram\n"
      "h_seconds_bucket{vcpu=\"0\",le=\"1e-09\"} 5\nh_seconds_bucket{vcpu=\"0\",le=\"2e-09\"} 5\n"
      "h_seconds_bucket{vcpu=\"0\",le=\"+Inf\"} 12\nh_seconds_count{vcpu=\"0\"} 12\n";
  CHECK(metrics.text(Exposition::prometheus) ==
        "# HELP a_seconds_total Time\\nof a\n# TYPE a_seconds_total counter\n" + samples + "# HELP b B \"b\"\n" + rest);
  CHECK(metrics.text(Exposition::openmetrics) == "# HELP a_seconds Time\\nof a\n# TYPE a_seconds counter\n" + samples +
                                                     "# HELP b B \\\"b\\\"\n" + rest + "# EOF\n");
}

}  // namespace launcher::watch
