#include "launcher/record/statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace launcher::inline record {

namespace {

constexpr std::uint64_t seed = 15;
constexpr int bootstrap_samples = 10'000;
constexpr int permutations = 10'000;

// Below n; the same on every standard library, which distributions of <random> are not.
std::size_t below(std::mt19937_64& random, std::size_t n) { return static_cast<std::size_t>(random() % n); }

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// A block's logarithms: those of a first, then those of b.
struct Logs {
  std::vector<double> values;
  std::size_t of_a = 0;
};

std::optional<std::vector<Logs>> logs_of(const std::vector<Block>& blocks) {
  std::vector<Logs> logs;
  for (const Block& block : blocks) {
    if (block.a.empty() || block.b.empty()) return std::nullopt;
    Logs& one = logs.emplace_back();
    one.of_a = block.a.size();
    for (const std::vector<double>* side : {&block.a, &block.b})
      for (const double value : *side) {
        if (!(value > 0) || !std::isfinite(value)) return std::nullopt;
        one.values.push_back(std::log(value));
      }
  }
  return logs;
}

// How much b lies above a within one block.
double step_in(const std::vector<double>& values, std::size_t of_a) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(of_a);
  return std::accumulate(middle, values.end(), 0.0) / static_cast<double>(values.end() - middle) -
         std::accumulate(values.begin(), middle, 0.0) / static_cast<double>(of_a);
}

double mean_step(const std::vector<Logs>& logs) {
  double sum = 0;
  for (const Logs& block : logs) sum += step_in(block.values, block.of_a);
  return sum / static_cast<double>(logs.size());
}

// Half the width of the interval around the step: Student's, with what is left when each block's level and the step are taken out.
double half_width(const std::vector<Logs>& logs, double step) {
  double left = 0, weight = 0;
  std::size_t boots = 0;
  for (const Logs& block : logs) {
    const auto a = static_cast<double>(block.of_a), b = static_cast<double>(block.values.size() - block.of_a);
    const double level = mean_of(block.values) - step * b / (a + b);
    for (std::size_t i = 0; i < block.values.size(); ++i) {
      const double rest = block.values[i] - level - (i < block.of_a ? 0 : step);
      left += rest * rest;
    }
    weight += 1 / a + 1 / b;
    boots += block.values.size();
  }
  const auto freedom = static_cast<double>(boots) - static_cast<double>(logs.size()) - 1;
  if (freedom < 1) return std::numeric_limits<double>::infinity();
  const auto blocks = static_cast<double>(logs.size());
  const double error = std::sqrt(left / freedom * weight) / blocks;
  return error * boost::math::quantile(boost::math::students_t(freedom), 1 - (1 - ratio_confidence) / 2);
}

// How often labels dealt at random within the blocks give a step as large.
double permutation_p(std::vector<Logs> logs, double step) {
  std::mt19937_64 random(seed);
  const double seen = std::abs(step) * (1 - 1e-9);
  int as_large = 0;
  for (int i = 0; i < permutations; ++i) {
    for (Logs& block : logs)
      for (std::size_t k = block.values.size(); k > 1; --k)
        std::swap(block.values[k - 1], block.values[below(random, k)]);
    if (std::abs(mean_step(logs)) >= seen) ++as_large;
  }
  return (1.0 + as_large) / (1.0 + permutations);
}

std::string why_no_claim(const Effect& effect, std::size_t blocks) {
  if (blocks < fewest_blocks) return fmt::format("{} blocks are too few to claim anything", blocks);
  if (effect.p >= claim_below) return "no effect seen";
  if (effect.interval.low <= 1 && effect.interval.high >= 1) return "the interval holds 1";
  return "";
}

}  // namespace

double median_of(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const std::size_t half = values.size() / 2;
  std::ranges::sort(values);
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double mad_of(const std::vector<double>& values) {
  const double median = median_of(values);
  std::vector<double> distances;
  distances.reserve(values.size());
  for (const double value : values) distances.push_back(std::abs(value - median));
  return median_of(std::move(distances));
}

Interval bootstrap_interval(const std::vector<double>& values, double confidence) {
  if (values.empty()) return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  std::mt19937_64 random(seed);
  std::vector<double> medians, sample(values.size());
  medians.reserve(bootstrap_samples);
  for (int i = 0; i < bootstrap_samples; ++i) {
    for (double& one : sample) one = values[below(random, values.size())];
    medians.push_back(median_of(sample));
  }
  std::ranges::sort(medians);
  const double tail = (1 - confidence) / 2;
  const auto at = [&](double part) {
    return medians[static_cast<std::size_t>(std::clamp(part * bootstrap_samples, 0.0, bootstrap_samples - 1.0))];
  };
  return {at(tail), at(1 - tail)};
}

std::optional<Summary> summarize(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  constexpr double confidence = 0.95;
  const auto [least, most] = std::ranges::minmax(values);
  return Summary{values.size(), median_of(values), mad_of(values), least, most, bootstrap_interval(values, confidence)};
}

std::optional<Effect> effect_of(const std::vector<Block>& blocks) {
  const auto logs = logs_of(blocks);
  if (!logs || logs->empty()) return std::nullopt;
  const double step = mean_step(*logs), half = half_width(*logs, step);
  Effect effect{
      std::exp(step), {std::exp(step - half), std::exp(step + half)}, permutation_p(*logs, step), 0, false, ""};
  for (const Logs& block : *logs) effect.boots += block.values.size();
  effect.why_not = why_no_claim(effect, blocks.size());
  effect.claimed = effect.why_not.empty();
  return effect;
}

void adjust_for_many(std::vector<Effect*> effects) {
  std::ranges::stable_sort(effects, {}, [](const Effect* effect) { return effect->p; });
  double least = 0;
  for (std::size_t i = 0; i < effects.size(); ++i) {
    least = std::max(least, std::min(1.0, effects[i]->p * static_cast<double>(effects.size() - i)));
    effects[i]->p = least;
    if (effects[i]->claimed && least >= claim_below) {
      effects[i]->claimed = false;
      effects[i]->why_not = fmt::format("no effect seen: not among {} comparisons", effects.size());
    }
  }
}

}  // namespace launcher::record
