// `vmrun measure`: a command in boot after boot of one VM, and what its numbers say.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "launcher/commands/bench.hpp"
#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/life/signals.hpp"
#include "launcher/spec/profiles.hpp"
#include "launcher/watch/picture.hpp"

namespace launcher::commands {

namespace {

unsigned count_of(const Options& options, const std::string& name, unsigned otherwise, unsigned least) {
  const auto given = options.value(name);
  if (!given) return otherwise;
  constexpr unsigned most = 10'000;
  unsigned number = 0;
  const auto [end, error] = std::from_chars(given->data(), given->data() + given->size(), number);
  if (error != std::errc{} || end != given->data() + given->size() || number < least || number > most)
    throw UsageError(fmt::format("--{} {}: wanted a number from {} to {}", name, *given, least, most));
  return number;
}

// What it is beside the spec. A/A and `bare` change nothing in it.
std::vector<std::string> sets_of(const std::string& knob) {
  return knob.empty() || knob == bare_knob ? std::vector<std::string>{} : std::vector{knob};
}

// Each key that the profile set, back to what it is without one.
void add_profile_knobs(const Bench& bench, std::vector<std::string>& knobs) {
  const ProfileKnobs found = profile_knobs(bench.document());
  for (const std::string& knob : found.knobs) {
    if (std::ranges::find(knobs, knob) != knobs.end()) continue;
    if (const auto why = bench.why_not({knob}))
      say(fmt::format("not compared: {}: {}", knob, *why));
    else
      knobs.push_back(knob);
  }
  if (!found.others.empty())
    say(fmt::format("not compared, for the guest may not be the same without: {}", fmt::join(found.others, ", ")));
}

}  // namespace

int measure(const Options& options) {
  const unsigned runs = count_of(options, "runs", 5, 1), warmups = count_of(options, "warmup", 0, 0);
  unsigned retries = count_of(options, "retries", runs, 0), failures = 0, kept = 0;
  Bench bench(options);
  const Signals signals;
  std::vector<Boot> boots;
  // one that failed or was disturbed is kept, marked and done again; half of all may fail
  while (kept < runs && failures <= runs) {
    Boot boot;
    boot.run = static_cast<unsigned>(boots.size()) + 1;
    boot.warmup = boot.run <= warmups;
    boots.push_back(bench.boot(boot, {}));
    const Boot& last = boots.back();
    if (last.warmup) continue;
    if (!last.counts())
      ++failures;
    else if (last.disturbed() && retries > 0)
      --retries;
    else
      ++kept;
  }
  const std::vector<Boot> counted = counted_of(boots, runs);
  if (options.flag("bencher"))
    print_json(bencher_json(bench.name(), counted));
  else if (options.flag("json"))
    print_json(summaries_json(counted));
  else
    print(boots_text(boots) + "\n" + summaries_text(counted));
  if (kept < runs) {
    say(fmt::format("{} of {} runs succeeded", kept, runs));
    return failed;
  }
  if (disturbed_of(counted) == 0) return done;
  say(fmt::format("{} of the {} boots that count were disturbed", disturbed_of(counted), counted.size()));
  return disturbed;
}

int ablate(const Options& options) {
  std::vector<std::string> knobs = options.all("knob");
  const unsigned blocks = count_of(options, "blocks", 5, fewest_blocks);
  const auto svg = options.value("svg");
  if (svg && !find_program("gnuplot"))
    throw UsageError("--svg draws by gnuplot, which is not here: install gnuplot-nox");
  Bench bench(options);
  if (options.flag("all")) add_profile_knobs(bench, knobs);
  if (knobs.empty())
    throw UsageError(
        "wanted at least one --knob KEY=VALUE to compare with the spec as it is, or --all, for a spec with a profile");
  for (const std::string& knob : knobs)
    if (const auto why = bench.why_not(sets_of(knob)))
      throw UsageError(fmt::format("--knob {}: the VM cannot be had with it: {}", knob, *why));
  const Signals signals;
  std::vector<Boot> boots;
  std::vector<std::string> all{""};  // A/A: the spec beside itself
  all.insert(all.end(), knobs.begin(), knobs.end());
  for (const std::string& knob : all)
    for (unsigned block = 1; block <= blocks; ++block)
      for (const char* arm : {"a", "b", "b", "a"}) {
        Boot boot;
        boot.run = static_cast<unsigned>(boots.size()) + 1;
        boot.knob = knob;
        boot.arm = arm;
        boot.block = block;
        boots.push_back(bench.boot(boot, *arm == 'b' ? sets_of(knob) : std::vector<std::string>{}));
      }
  const std::vector<KnobEffect> effects = effects_of(boots);
  if (options.flag("json"))
    print_json(effects_json(effects));
  else
    print(effects_text(effects));
  if (svg) write_file(*svg, drawn_by_gnuplot(forest_plot(effects)));
  return is_sound(effects) && !effects.empty() ? done : failed;
}

}  // namespace launcher::commands
