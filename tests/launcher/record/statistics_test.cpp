// The statistics on streams whose truth is known: what is not there is not claimed, what is there is found, and intervals hold it.
#include "launcher/record/statistics.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <random>

using namespace launcher;

namespace {

// Boots of a machine, one after the other: a level that may drift, and noise that is never Gaussian alone.
class Stream {
 public:
  Stream(
      unsigned seed, double noise, std::function<double(int)> level = [](int) { return 1.0; })
      : random_(seed), noise_(noise), level_(std::move(level)) {}
  double boot(double slower) {
    std::normal_distribution<double> gauss(0, noise_);
    std::uniform_real_distribution<double> luck(0, 1);
    double value = 100 * level_(boots_++) * slower * std::exp(gauss(random_));
    if (luck(random_) < hiccups) value *= 1.15;
    return value;
  }
  double hiccups = 0;

 private:
  std::mt19937 random_;
  double noise_;
  std::function<double(int)> level_;
  int boots_ = 0;
};

std::vector<Block> abba(Stream stream, int blocks, double slower) {
  std::vector<Block> all;
  for (int i = 0; i < blocks; ++i) {
    Block& block = all.emplace_back();
    block.a.push_back(stream.boot(1));
    block.b.push_back(stream.boot(slower));
    block.b.push_back(stream.boot(slower));
    block.a.push_back(stream.boot(1));
  }
  return all;
}

struct Tally {
  int claims = 0, right_sign = 0, holds = 0;
};
Tally tally(int repeats, int blocks, double slower, const std::function<Stream(unsigned)>& stream) {
  Tally tally;
  for (int i = 0; i < repeats; ++i) {
    const auto effect = effect_of(abba(stream(static_cast<unsigned>(1000 + i)), blocks, slower));
    REQUIRE(effect);
    tally.claims += effect->claimed ? 1 : 0;
    tally.right_sign += effect->claimed && (effect->ratio > 1) == (slower > 1) ? 1 : 0;
    tally.holds += effect->interval.low <= slower && slower <= effect->interval.high ? 1 : 0;
  }
  return tally;
}

}  // namespace

TEST_CASE("median and median absolute deviation") {
  CHECK(median_of({3, 1, 2}) == 2);
  CHECK(median_of({4, 1, 2, 3}) == 2.5);
  CHECK(std::isnan(median_of({})));
  CHECK(mad_of({1, 1, 2, 2, 4, 6, 9}) == 1);
}

TEST_CASE("a summary holds its median, is the same twice, and an outlier does not move it far") {
  const std::vector<double> values{10, 11, 9, 10, 12, 10, 11, 500};
  const auto summary = summarize(values);
  REQUIRE(summary);
  CHECK(summary->median == 10.5);
  CHECK(summary->interval.low >= 9);
  CHECK(summary->interval.low <= 10.5);
  CHECK(summary->interval.high >= 10.5);
  CHECK(bootstrap_interval(values, 0.95) == summary->interval);
  CHECK(!summarize({}));
}

TEST_CASE("the median's bootstrap interval holds the truth about as often as it says") {
  int holds = 0;
  for (unsigned i = 0; i < 100; ++i) {
    Stream stream(i, 0.05);
    std::vector<double> values;
    for (int k = 0; k < 20; ++k) values.push_back(stream.boot(1));
    const Interval interval = bootstrap_interval(values, 0.95);
    holds += interval.low <= 100 && 100 <= interval.high ? 1 : 0;
  }
  CHECK(holds >= 88);
}

TEST_CASE("A/A: nothing is claimed, but for about one in a hundred") {
  CHECK(tally(60, 5, 1, [](unsigned seed) { return Stream(seed, 0.04); }).claims <= 3);
  CHECK(tally(40, 10, 1, [](unsigned seed) {
          Stream stream(seed, 0.02);
          stream.hiccups = 0.1;
          return stream;
        }).claims <= 3);
}

TEST_CASE("a slowdown of 10 % is found with its sign, in an interval that holds it") {
  for (const double slower : {1.10, 1 / 1.10}) {
    CAPTURE(slower);
    const Tally found = tally(20, 5, slower, [](unsigned seed) { return Stream(seed, 0.03); });
    CHECK(found.right_sign >= 18);
    CHECK(found.holds >= 18);
  }
  const Tally noisy = tally(20, 10, 1.10, [](unsigned seed) {
    Stream stream(seed, 0.04);
    stream.hiccups = 0.1;
    return stream;
  });
  CHECK(noisy.right_sign >= 18);
  CHECK(noisy.holds >= 18);
}

TEST_CASE("a drift of the machine is no effect, wherever it comes") {
  for (int at = 8; at <= 12; ++at) {
    CAPTURE(at);
    const auto step = [at](int boot) { return boot < at ? 1.0 : 1.2; };
    CHECK(tally(10, 5, 1, [&](unsigned seed) { return Stream(seed, 0.02, step); }).claims <= 1);
  }
  const auto slope = [](int boot) { return 1 + 0.01 * boot; };
  CHECK(tally(40, 5, 1, [&](unsigned seed) { return Stream(seed, 0.02, slope); }).claims <= 3);
  // not interleaved, the same step would be an effect of 20 %
  std::vector<Block> halves(5);
  Stream stream(7, 0.02, [](int boot) { return boot < 10 ? 1.0 : 1.2; });
  for (Block& block : halves) block.a = {stream.boot(1), stream.boot(1)};
  for (Block& block : halves) block.b = {stream.boot(1), stream.boot(1)};
  CHECK(effect_of(halves)->claimed);
}

TEST_CASE("a slowdown is found through a drift") {
  const auto step = [](int boot) { return boot < 10 ? 1.0 : 1.2; };
  const Tally found = tally(20, 5, 1.10, [&](unsigned seed) { return Stream(seed, 0.02, step); });
  CHECK(found.right_sign >= 18);
  CHECK(found.holds >= 18);
}

TEST_CASE("what cannot be said is not said") {
  CHECK(!effect_of({}));
  CHECK(!effect_of({{{1, 2}, {}}}));
  CHECK(!effect_of({{{1, 0}, {1, 1}}}));
  const auto few = effect_of({{{1, 1.01}, {2, 2.01}}, {{1, 1.01}, {2, 2.01}}});
  REQUIRE(few);
  CHECK(!few->claimed);
  CHECK(few->why_not.find("too few") != few->why_not.npos);
  const auto same = effect_of({{{5, 5}, {5, 5}}, {{5, 5}, {5, 5}}, {{5, 5}, {5, 5}}});
  REQUIRE(same);
  CHECK(same->ratio == 1);
  CHECK(!same->claimed);
}

TEST_CASE("one claim among many has to be stronger") {
  Effect one{1.1, {1.02, 1.2}, 0.006, 20, true, ""}, two{1.2, {1.1, 1.3}, 0.0001, 20, true, ""};
  adjust_for_many({&one, &two});
  CHECK(two.p == doctest::Approx(0.0002));
  CHECK(two.claimed);
  CHECK(one.p == doctest::Approx(0.006));
  CHECK(one.claimed);
  Effect weak{1.1, {1.02, 1.2}, 0.006, 20, true, ""}, none{1, {0.9, 1.1}, 0.5, 20, false, "no effect seen"};
  adjust_for_many({&weak, &none});
  CHECK(!weak.claimed);
}
