// The keys of [host].
#include "launcher/spec/host_spec.hpp"

#include <array>
#include <string>

#include "launcher/text/toml_reader.hpp"

namespace launcher::inline spec {

namespace {

Wish wish(TableReader& table, const char* key, const std::string& word) {
  return std::array{Wish::no, Wish::yes, Wish::maybe}.at(table.choice(key, {"keep", word, "auto"}, 0));
}

std::optional<bool> move(TableReader& table, const char* key) {
  return std::array<std::optional<bool>, 3>{std::nullopt, false, true}.at(
      table.choice(key, {"auto", "keep", "move"}, 0));
}

}  // namespace

bool HostSpec::asks() const {
  return isolate != Wish::no || governor != Wish::no || energy != Wish::no || max_latency || interrupts == true ||
         workqueues == true;
}

Wish HostSpec::moves(const std::optional<bool>& asked) const {
  if (asked) return *asked ? Wish::yes : Wish::no;
  return isolate != Wish::no ? Wish::maybe : Wish::no;
}

HostSpec read_host_spec(TableReader& table) {
  HostSpec host;
  constexpr std::int64_t most_latency = 1'000'000;
  if (table.is_text("isolate", "auto"))
    host.isolate = Wish::maybe;
  else if (table.flag("isolate", false))
    host.isolate = Wish::yes;
  host.governor = wish(table, "governor", "performance");
  host.energy = wish(table, "energy", "performance");
  if (const auto latency = table.integer_or_auto("max_latency_us", 0, most_latency))
    host.max_latency = static_cast<unsigned>(*latency);
  host.interrupts = move(table, "interrupts");
  host.workqueues = move(table, "workqueues");
  return host;
}

}  // namespace launcher::spec
