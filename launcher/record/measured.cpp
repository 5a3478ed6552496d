#include "launcher/record/measured.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>
#include <set>

#include "launcher/text/table.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

json::value finite(double number) { return std::isfinite(number) ? json::value(number) : json::value(nullptr); }

std::map<std::string, std::vector<double>> values_of(const std::vector<Boot>& boots) {
  std::map<std::string, std::vector<double>> values;
  for (const Boot& boot : boots)
    if (boot.counts())
      for (const auto& [name, value] : boot.metrics) values[name].push_back(value);
  return values;
}

// "disturbed: run-delay, foreign-task", each kind once
std::string remark_on(const Boot& boot) {
  std::string text = boot.warmup ? "warm-up, " : "";
  if (boot.exit_code != 0) text += fmt::format("failed ({}), ", boot.exit_code);
  text += boot.seen.watched || !boot.seen.not_checked.empty() ? verdict_of(boot.seen) : "not watched";
  std::set<std::string> kinds;
  for (const Offender& one : boot.seen.offenders) kinds.insert(one.what);
  for (const std::string& kind : kinds) text += (kind == *kinds.begin() ? ": " : ", ") + kind;
  return text;
}

}  // namespace

const char* verdict_of(const Disturbances& seen) {
  if (!seen.offenders.empty()) return "disturbed";
  if (!seen.not_checked.empty()) return "unproven";
  return seen.watched ? "clean" : "none";
}

json::object to_json(const Boot& boot) {
  json::object metrics;
  for (const auto& [name, value] : boot.metrics) metrics[name] = finite(value);
  json::object out{{"version", measure_version},
                   {"event", "run"},
                   {"run", boot.run},
                   {"warmup", boot.warmup},
                   {"exit_code", boot.exit_code},
                   {"ready_seconds", boot.ready_seconds},
                   {"metrics", metrics},
                   {"verdict", verdict_of(boot.seen)},
                   {"offenders", topology::json::write(boot.seen.offenders)},
                   {"not_checked", topology::json::write(boot.seen.not_checked)}};
  if (boot.block == 0) return out;
  out["knob"] = boot.knob;
  out["arm"] = boot.arm;
  out["block"] = boot.block;
  return out;
}

std::vector<Boot> counted_of(const std::vector<Boot>& boots, std::size_t wanted) {
  std::vector<Boot> all, clean;
  for (const Boot& boot : boots) {
    if (!boot.counts()) continue;
    all.push_back(boot);
    if (!boot.disturbed()) clean.push_back(boot);
  }
  return clean.size() >= wanted ? clean : all;
}

std::size_t disturbed_of(const std::vector<Boot>& boots) {
  return static_cast<std::size_t>(std::ranges::count_if(boots, &Boot::disturbed));
}

std::map<std::string, Summary> summaries_of(const std::vector<Boot>& boots) {
  std::map<std::string, Summary> found;
  for (const auto& [name, values] : values_of(boots))
    if (const auto summary = summarize(values)) found[name] = *summary;
  return found;
}

json::object summaries_json(const std::vector<Boot>& boots) {
  json::object metrics;
  for (const auto& [name, summary] : summaries_of(boots))
    metrics[name] = {{"count", summary.count},      {"median", summary.median},      {"mad", summary.mad},
                     {"low", summary.interval.low}, {"high", summary.interval.high}, {"confidence", 0.95},
                     {"least", summary.least},      {"most", summary.most}};
  return {{"version", measure_version},
          {"event", "summary"},
          {"boots", boots.size()},
          {"disturbed", disturbed_of(boots)},
          {"metrics", metrics}};
}

json::object bencher_json(const std::string& name, const std::vector<Boot>& boots) {
  json::object metrics;
  for (const auto& [metric, summary] : summaries_of(boots))
    metrics[metric] = {
        {"value", summary.median}, {"lower_value", summary.interval.low}, {"upper_value", summary.interval.high}};
  return {{name, metrics}};
}

std::string summaries_text(const std::vector<Boot>& boots) {
  TextTable table({{"METRIC"}, {"BOOTS", true}, {"MEDIAN", true}, {"MAD", true}, {"95 % OF THE MEDIAN"}, {"RANGE"}});
  for (const auto& [name, one] : summaries_of(boots))
    table.add({name, std::to_string(one.count), fmt::format("{:.6g}", one.median), fmt::format("{:.3g}", one.mad),
               fmt::format("{:.6g} .. {:.6g}", one.interval.low, one.interval.high),
               fmt::format("{:.6g} .. {:.6g}", one.least, one.most)});
  return table.text(0);
}

std::string boots_text(const std::vector<Boot>& boots) {
  std::set<std::string> names;
  for (const Boot& boot : boots)
    for (const auto& [name, value] : boot.metrics) names.insert(name);
  std::vector<Column> columns{{"RUN", true}};
  for (const std::string& name : names) columns.push_back({name, true});
  columns.push_back({"VERDICT"});
  TextTable table(columns);
  for (const Boot& boot : boots) {
    std::vector<std::string> cells{std::to_string(boot.run)};
    for (const std::string& name : names) {
      const auto found = boot.metrics.find(name);
      cells.push_back(found == boot.metrics.end() ? "-" : fmt::format("{:.6g}", found->second));
    }
    cells.push_back(remark_on(boot));
    table.add(cells);
  }
  return table.text(0);
}

std::vector<KnobEffect> effects_of(const std::vector<Boot>& boots) {
  std::vector<std::string> knobs;
  std::map<std::string, std::map<std::string, std::map<unsigned, Block>>> blocks;  // knob, metric, block
  std::map<std::string, std::size_t> disturbed;
  for (const Boot& boot : boots) {
    if (!boot.counts()) continue;
    if (std::ranges::find(knobs, boot.knob) == knobs.end()) knobs.push_back(boot.knob);
    disturbed[boot.knob] += boot.disturbed() ? 1 : 0;
    for (const auto& [metric, value] : boot.metrics) {
      Block& block = blocks[boot.knob][metric][boot.block];
      (boot.arm == "a" ? block.a : block.b).push_back(value);
    }
  }
  std::vector<KnobEffect> found;
  for (const std::string& knob : knobs)
    for (const auto& [metric, numbered] : blocks[knob]) {
      std::vector<Block> whole;
      for (const auto& [number, block] : numbered)
        if (!block.a.empty() && !block.b.empty()) whole.push_back(block);
      if (const auto effect = effect_of(whole)) found.push_back({knob, metric, *effect, disturbed[knob]});
    }
  for (const bool aa : {true, false}) {
    std::vector<Effect*> together;
    for (KnobEffect& one : found)
      if (one.knob.empty() == aa) together.push_back(&one.effect);
    adjust_for_many(std::move(together));
  }
  if (!is_sound(found))
    for (KnobEffect& one : found)
      if (!one.knob.empty() && one.effect.claimed) {
        one.effect.claimed = false;
        one.effect.why_not = "not claimed: the same VM twice (A/A) differed, too";
      }
  return found;
}

bool is_sound(const std::vector<KnobEffect>& effects) {
  return std::ranges::none_of(effects, [](const KnobEffect& one) { return one.knob.empty() && one.effect.claimed; });
}

json::object effects_json(const std::vector<KnobEffect>& effects) {
  json::array all;
  for (const KnobEffect& one : effects)
    all.push_back({{"knob", one.knob},
                   {"metric", one.metric},
                   {"ratio", finite(one.effect.ratio)},
                   {"low", finite(one.effect.interval.low)},
                   {"high", finite(one.effect.interval.high)},
                   {"confidence", ratio_confidence},
                   {"p", one.effect.p},
                   {"boots", one.effect.boots},
                   {"disturbed", one.disturbed},
                   {"claimed", one.effect.claimed},
                   {"why_not", one.effect.why_not}});
  return {{"version", measure_version}, {"event", "ablation"}, {"sound", is_sound(effects)}, {"effects", all}};
}

std::string effects_text(const std::vector<KnobEffect>& effects) {
  TextTable table({{"KNOB"},
                   {"METRIC"},
                   {"RATIO", true},
                   {"99 % INTERVAL"},
                   {"p", true},
                   {"BOOTS", true},
                   {"DISTURBED", true},
                   {"VERDICT"}});
  for (const KnobEffect& one : effects)
    table.add({one.knob.empty() ? "(A/A)" : one.knob, one.metric, fmt::format("{:.4f}", one.effect.ratio),
               fmt::format("{:.4f} .. {:.4f}", one.effect.interval.low, one.effect.interval.high),
               fmt::format("{:.4f}", one.effect.p), std::to_string(one.effect.boots), std::to_string(one.disturbed),
               one.effect.claimed ? fmt::format("{:+.1f} %", (one.effect.ratio - 1) * 100) : one.effect.why_not});
  return table.text(0);
}

// One row for each knob and metric: the interval as a bar, the ratio as a point on it, 1 as a line.
std::string forest_plot(const std::vector<KnobEffect>& effects) {
  const auto quoted = [](const std::string& text) {
    std::string out;
    for (const char c : text) out += c == '\'' ? "''" : c == '\n' ? std::string(" ") : std::string(1, c);
    return "'" + out + "'";
  };
  std::string rows, names;
  double row = static_cast<double>(effects.size());
  for (const KnobEffect& one : effects) {
    if (std::isfinite(one.effect.interval.high))
      rows += fmt::format("{} {} {} {}\n", one.effect.ratio, row, one.effect.interval.low, one.effect.interval.high);
    names += fmt::format("{}{} {}", names.empty() ? "" : ", ",
                         quoted((one.knob.empty() ? "A/A" : one.knob) + "  " + one.metric), row);
    --row;
  }
  return fmt::format(
      "set terminal svg size 900,{} noenhanced\nunset key\nset ytics noenhanced ({})\n"
      "set yrange [0.5:{}]\nset xlabel 'ratio to the spec as it is (99 % interval)'\n"
      "set arrow from 1, graph 0 to 1, graph 1 nohead dashtype 2\n$rows << EOD\n{}EOD\n"
      "plot $rows using 1:2:3:4 with xerrorbars pointtype 7\n",
      120 + 24 * effects.size(), names, static_cast<double>(effects.size()) + 0.5, rows);
}

}  // namespace launcher::record
