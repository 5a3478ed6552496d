// Numbers out of what benchmarks print, and what several boots are summed up to.
#include "launcher/record/metrics.hpp"

#include <doctest/doctest.h>

#include <boost/json.hpp>
#include <random>

#include "launcher/record/measured.hpp"

using namespace launcher;

TEST_CASE("a metric is a name and a pattern with a group") {
  const auto metric = metric_from("lat=avg= *([0-9.]+)");
  REQUIRE(metric);
  CHECK(metric->name == "lat");
  CHECK(metric->pattern == "avg= *([0-9.]+)");
  for (const char* wrong : {"lat", "=x", "lat=avg", "lat=(", ""}) CHECK_MESSAGE(!metric_from(wrong), wrong);
}

TEST_CASE("a metric's number, the median of several, and none where there is none") {
  const std::vector<Metric> metrics{{"avg", "Avg: *([0-9.]+)"}, {"none", "Nothing ([0-9]+)"}, {"word", "Avg: (.*)"}};
  const auto found = read_metrics("T: 0 Avg: 12.5\nT: 1 Avg: 10\nT: 2 Avg: 90 us\n", metrics);
  CHECK(found.at("avg") == 12.5);
  CHECK(!found.contains("none"));
  CHECK(found.at("word") == 11.25);                                                    // "90 us" is no number
  CHECK(read_metrics(std::string(1 << 20, 'a'), {{"x", "^(a|b)*c([0-9])"}}).empty());  // and no stack is lost
}

TEST_CASE("of several numbers in one run the greatest, the least or the sum, where that is asked for") {
  const std::string threads = "T: 0 Max: 12\nT: 1 Max: 90\nT: 2 Max: 10\n";
  std::vector<Metric> metrics;
  for (const char* text :
       {"n=Max: *([0-9]+)", "max:most=Max: *([0-9]+)", "min:least=Max: *([0-9]+)", "sum:all=Max: *([0-9]+)"})
    metrics.push_back(metric_from(text).value());
  CHECK(read_metrics(threads, metrics) ==
        std::map<std::string, double>{{"n", 12}, {"most", 90}, {"least", 10}, {"all", 112}});
  CHECK(!metric_from("max:=([0-9]+)"));
}

TEST_CASE("fio's JSON, with words around it") {
  const std::string fio = R"(note: something
{"fio version": "fio-3.33", "jobs": [
  {"read": {"total_ios": 100, "iops": 1000.5, "bw_bytes": 4096000, "lat_ns": {"mean": 100}, "clat_ns": {"percentile": {"99.000000": 900}}},
   "write": {"total_ios": 0, "iops": 0}},
  {"read": {"total_ios": 300, "iops": 2000, "bw_bytes": 8192000, "lat_ns": {"mean": 200}, "clat_ns": {"percentile": {"99.000000": 700}}}}]}
)";
  const auto found = read_metrics(fio, {});
  CHECK(found.at("fio.read.iops") == 3000.5);
  CHECK(found.at("fio.read.bytes_per_second") == 12288000);
  CHECK(found.at("fio.read.latency_ns") == 175);
  CHECK(found.at("fio.read.p99_ns") == 900);
  CHECK(!found.contains("fio.write.iops"));
}

TEST_CASE("iperf3's JSON, TCP and UDP") {
  const auto tcp = read_metrics(
      R"({"start": {}, "end": {"sum_sent": {"bits_per_second": 9.5e9, "retransmits": 3}, "sum_received": {"bits_per_second": 9.4e9}}})",
      {});
  CHECK(tcp.at("iperf3.bits_per_second") == 9.4e9);
  CHECK(tcp.at("iperf3.retransmits") == 3);
  const auto udp = read_metrics(
      R"({"start": {}, "end": {"sum": {"bits_per_second": 1e6, "jitter_ms": 0.02, "lost_percent": 1.5}}})", {});
  CHECK(udp.at("iperf3.bits_per_second") == 1e6);
  CHECK(udp.at("iperf3.lost_percent") == 1.5);
  CHECK(read_metrics("{\"some\": \"json\"}", {}).empty());
}

TEST_CASE("fio's JSON and iperf3's after it, words and braces between them") {
  const std::string both = R"(fio: {not json}
{"fio version": "fio-3.39", "jobs": [{"read": {"total_ios": 1, "iops": 7}}]}
iperf3: error - {again}
{
  "start": {}, "end": {"sum_received": {"bits_per_second": 5}}
} {"fio version": "x", "jobs": [{"write": {"total_ios": 2, "iops": 8}}]} {"cut": )";
  const auto found = read_metrics(both, {});
  CHECK(found.at("fio.read.iops") == 7);
  CHECK(found.at("iperf3.bits_per_second") == 5);
  CHECK(found.at("fio.write.iops") == 8);
}

namespace {

// A/A, then each knob, in ABBA, of a machine with this noise.
std::vector<Boot> ablation(const std::map<std::string, double>& knobs, double noise, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> gauss(0, noise);
  std::vector<Boot> boots;
  const auto boot = [&](const std::string& knob, const char* arm, unsigned block, double factor) {
    Boot& one = boots.emplace_back();
    one.knob = knob, one.arm = arm, one.block = block;
    one.metrics["m"] = 50 * factor * std::exp(gauss(random));
  };
  for (const auto& [knob, factor] : knobs)
    for (unsigned block = 1; block <= 5; ++block)
      for (const char* arm : {"a", "b", "b", "a"}) boot(knob, arm, block, *arm == 'a' ? 1 : factor);
  return boots;
}

}  // namespace

TEST_CASE("an ablation claims the knob that does something, and no other") {
  const auto effects = effects_of(ablation({{"", 1}, {"cpu.pin=off", 1.1}, {"memory.page=4K", 1}}, 0.02, 3));
  REQUIRE(effects.size() == 3);
  CHECK(is_sound(effects));
  CHECK(!effects[0].effect.claimed);
  CHECK(effects[1].knob == "cpu.pin=off");
  CHECK(effects[1].effect.claimed);
  CHECK(effects[1].effect.ratio == doctest::Approx(1.1).epsilon(0.03));
  CHECK(!effects[2].effect.claimed);
}

TEST_CASE("where the same VM twice differs, nothing is claimed") {
  const auto effects = effects_of(ablation({{"", 1.1}, {"cpu.pin=off", 1.2}}, 0.02, 3));
  CHECK(!is_sound(effects));
  for (const KnobEffect& one : effects)
    if (!one.knob.empty()) CHECK(!one.effect.claimed);
}

TEST_CASE("warm-ups and failed runs are kept, and not counted") {
  std::vector<Boot> boots(5);
  for (unsigned i = 0; i < boots.size(); ++i) boots[i].run = i + 1, boots[i].metrics["m"] = i + 1;
  boots[0].warmup = true;
  boots[4].exit_code = 1;
  const auto summaries = summaries_of(boots);
  CHECK(summaries.at("m").count == 3);
  CHECK(summaries.at("m").median == 3);
  CHECK(bencher_json("a", boots).at("a").at("m").at("value") == 3.0);
  CHECK(to_json(boots[0]).at("warmup") == true);
}

TEST_CASE("the verdict stands beside each boot's numbers") {
  Boot boot;
  CHECK(to_json(boot).at("verdict") == "none");
  boot.seen.watched = true;
  CHECK(to_json(boot).at("verdict") == "clean");
  boot.seen.not_checked = {"the exits of vCPUs"};
  CHECK(to_json(boot).at("verdict") == "unproven");
  boot.seen.offenders = {{"run-delay", "vcpu 0 (11)", "stress (12)", "7 % of the window", "0.5 % of the window"},
                         {"foreign-task", "CPUs 3", "stress (12)", "7 % of the window", "0.2 % of the window"},
                         {"foreign-task", "CPUs 4", "make (13)", "2 % of the window", "0.2 % of the window"}};
  CHECK(to_json(boot).at("verdict") == "disturbed");
  CHECK(to_json(boot).at("offenders").at(0).at("who") == "stress (12)");
  boot.run = 3;
  boot.metrics["m"] = 42;
  CHECK(boots_text({boot}) == "RUN   m  VERDICT\n  3  42  disturbed: foreign-task, run-delay\n");
}

TEST_CASE(
    "what was disturbed does not count where enough was not; else all counts, so that nothing is chosen by its "
    "result") {
  std::vector<Boot> boots(6);
  for (unsigned i = 0; i < boots.size(); ++i) boots[i].run = i + 1, boots[i].metrics["m"] = i + 1;
  boots[0].warmup = true;
  boots[2].exit_code = 1;
  boots[4].seen.offenders = {{"steal", "CPU 1", "the host of this host", "3 %", "0.5 %"}};
  const auto runs_of = [](const std::vector<Boot>& counted) {
    std::vector<unsigned> runs;
    for (const Boot& boot : counted) runs.push_back(boot.run);
    return runs;
  };
  CHECK(runs_of(counted_of(boots, 3)) == std::vector<unsigned>{2, 4, 6});
  CHECK(runs_of(counted_of(boots, 4)) == std::vector<unsigned>{2, 4, 5, 6});
  const auto summary = summaries_json(counted_of(boots, 4));
  CHECK(summary.at("boots") == 4);
  CHECK(summary.at("disturbed") == 1);
}

TEST_CASE("an ablation leaves no disturbed boot out, and tells how many there were for each knob") {
  std::vector<Boot> boots = ablation({{"", 1}, {"cpu.pin=off", 1.1}}, 0.02, 3);
  for (Boot& boot : boots)
    if (boot.knob == "cpu.pin=off" && boot.arm == "b")
      boot.seen.offenders = {{"run-delay", "vcpu 0 (11)", "", "3 %", "0.5 %"}};
  const auto effects = effects_of(boots);
  CHECK(effects[0].disturbed == 0);
  CHECK(effects[1].disturbed == 10);
  CHECK(effects[1].effect.boots == 20);
  CHECK(effects_json(effects).at("effects").at(1).at("disturbed") == 10);
}
