// What a measured boot gave, and what several of them say: JSON lines for a harness, Bencher's format, a table. Fields keep their names
// within a version (configs/measure.schema.json).
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launcher/record/statistics.hpp"

namespace launcher::inline record {

constexpr int measure_version = 1;

struct Boot {
  unsigned run = 0;          // from 1, warm-ups too
  std::string knob, arm;     // of an ablation: "cpu.pin=off" ("" for A/A) and "a" or "b"; else ""
  unsigned block = 0;        // of an ablation, from 1
  bool warmup = false;       // not counted
  int exit_code = 0;         // of the command; not 0: not counted
  double ready_seconds = 0;  // from the start of the launch until the command could begin
  std::map<std::string, double> metrics;
  bool counts() const { return !warmup && exit_code == 0; }
};

boost::json::object to_json(const Boot& boot);

std::map<std::string, Summary> summaries_of(const std::vector<Boot>& boots);  // by metric, of those that count
boost::json::object summaries_json(const std::vector<Boot>& boots);
boost::json::object bencher_json(const std::string& name, const std::vector<Boot>& boots);  // Bencher Metric Format
std::string summaries_text(const std::vector<Boot>& boots);

// What one knob did to one metric.
struct KnobEffect {
  std::string knob, metric;  // knob "": A/A
  Effect effect;
};
// Of every knob and metric that has a ratio; p is that among all of them, A/A by itself. Where A/A shows an effect nothing is claimed.
std::vector<KnobEffect> effects_of(const std::vector<Boot>& boots);
bool is_sound(const std::vector<KnobEffect>& effects);  // A/A showed none
boost::json::object effects_json(const std::vector<KnobEffect>& effects);
std::string effects_text(const std::vector<KnobEffect>& effects);
std::string forest_plot(const std::vector<KnobEffect>& effects);  // gnuplot's commands

}  // namespace launcher::record
