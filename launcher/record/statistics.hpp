// What numbers of several boots allow one to say. The rule: no mean alone, no claim without an interval, and the same numbers always give
// the same answer (every random choice has a fixed seed).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline record {

struct Interval {
  double low = 0, high = 0;
  friend bool operator==(const Interval&, const Interval&) = default;
};

double median_of(std::vector<double> values);      // of none: NaN
double mad_of(const std::vector<double>& values);  // median absolute deviation from the median, not scaled

// Of the median, by 10'000 bootstrap samples. confidence: 0.95
Interval bootstrap_interval(const std::vector<double>& values, double confidence);

struct Summary {
  std::size_t count = 0;
  double median = 0, mad = 0, least = 0, most = 0;
  Interval interval;  // 95 % of the median
};
std::optional<Summary> summarize(const std::vector<double>& values);  // nullopt: there are none

// Boots in an order in which what drifts slowly hits both alike: A B B A.
struct Block {
  std::vector<double> a, b;
};

constexpr double claim_below = 0.01;       // p
constexpr double ratio_confidence = 0.99;  // so that interval and p agree
constexpr std::size_t fewest_blocks = 4;   // with fewer no p can be below claim_below

// b beside a: as Kalibera and Jones (ISMM 2013), the ratio with an interval over the boots, here from logarithms with each block's
// level taken out, so that a step of the machine between two blocks is in neither. p: labels permuted within the blocks.
struct Effect {
  double ratio = 1;
  Interval interval;
  double p = 1;
  std::size_t boots = 0;
  bool claimed = false;  // p < claim_below, and the interval does not hold 1
  std::string why_not;   // "": it is claimed
};
// nullopt: there is no ratio, since a value is not above 0, or a block lacks one of the two.
std::optional<Effect> effect_of(const std::vector<Block>& blocks);

// Several at once (Holm): each p as it counts among all; claims that fall by it say so.
void adjust_for_many(std::vector<Effect*> effects);

}  // namespace launcher::record
