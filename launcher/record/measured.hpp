// What a measured boot gave, and what several of them say: JSON lines for a harness, Bencher's format, a table. Fields keep their names
// within a version (configs/measure.schema.json).
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launcher/record/statistics.hpp"
#include "launcher/watch/judge.hpp"

namespace launcher::inline record {

constexpr int measure_version = 1;

// What `watch` found while the command ran.
struct Disturbances {
  bool watched = false;                  // false: nobody looked, or not to the end
  std::vector<Offender> offenders;       // none: clean
  std::vector<std::string> not_checked;  // what could not be read
};

struct Boot {
  unsigned run = 0;          // from 1, warm-ups too
  std::string knob, arm;     // of an ablation: "cpu.pin=off" ("" for A/A) and "a" or "b"; else ""
  unsigned block = 0;        // of an ablation, from 1
  bool warmup = false;       // not counted
  int exit_code = 0;         // of the command; not 0: not counted
  double ready_seconds = 0;  // from the start of the launch until the command could begin
  std::map<std::string, double> metrics;
  Disturbances seen;
  bool counts() const { return !warmup && exit_code == 0; }
  bool disturbed() const { return !seen.offenders.empty(); }
};

// "clean", "disturbed", "unproven" (nothing was found, and not all could be read) or "none" (not watched)
const char* verdict_of(const Disturbances& seen);
boost::json::object to_json(const Boot& boot);

// Whose numbers count where `wanted` boots were: those that nothing disturbed; where they are fewer, all that succeeded, so that
// nothing is chosen by its result.
std::vector<Boot> counted_of(const std::vector<Boot>& boots, std::size_t wanted);
std::size_t disturbed_of(const std::vector<Boot>& boots);

// Of those that count().
std::map<std::string, Summary> summaries_of(const std::vector<Boot>& boots);  // by metric
boost::json::object summaries_json(const std::vector<Boot>& boots);
boost::json::object bencher_json(const std::string& name, const std::vector<Boot>& boots);  // Bencher Metric Format
std::string summaries_text(const std::vector<Boot>& boots);
std::string boots_text(const std::vector<Boot>& boots);  // each boot's numbers, and its verdict beside them

// What one knob did to one metric.
struct KnobEffect {
  std::string knob, metric;  // knob "": A/A
  Effect effect;
  std::size_t disturbed = 0;  // of its boots. None is left out: what disturbs may be the knob's own doing
};
// Of every knob and metric that has a ratio; p is that among all of them, A/A by itself. Where A/A shows an effect nothing is claimed.
std::vector<KnobEffect> effects_of(const std::vector<Boot>& boots);
bool is_sound(const std::vector<KnobEffect>& effects);  // A/A showed none
boost::json::object effects_json(const std::vector<KnobEffect>& effects);
std::string effects_text(const std::vector<KnobEffect>& effects);
std::string forest_plot(const std::vector<KnobEffect>& effects);  // gnuplot's commands

}  // namespace launcher::record
