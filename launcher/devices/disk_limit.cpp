// See disk_limit.hpp.
#include "launcher/devices/disk_limit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

struct Name {
  const char* key;
  const char* qapi;  // of ThrottleLimits; the burst has "-max", its length "-max-length"
  bool bytes;
};
constexpr std::array<Name, 6> names = {{{"iops", "iops-total", false},
                                        {"iops_read", "iops-read", false},
                                        {"iops_write", "iops-write", false},
                                        {"bytes", "bps-total", true},
                                        {"bytes_read", "bps-read", true},
                                        {"bytes_write", "bps-write", true}}};

constexpr std::int64_t most_iops = 1'000'000'000;
constexpr topology::Bytes most_bytes = {std::uint64_t{1} << 40};  // THROTTLE_VALUE_MAX is 10^15

std::uint64_t read_rate(TableReader& table, const std::string& key, bool bytes) {
  if (bytes) return table.size(key, {0}, {0}, most_bytes).count;
  return static_cast<std::uint64_t>(table.integer(key, 0, 0, most_iops));
}

void check_rates(TableReader& table, const DiskLimit& limit) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& [per_second, burst] = limit.rates[i];
    const std::string key = names[i].key;
    const DiskLimit::Rate& total = limit.rates[i / 3 * 3];
    if (i % 3 != 0 && per_second > 0 && total.per_second > 0)
      table.problem(
          key,
          fmt::format("given together with {0}, which counts the same; wanted one of the two", names[i / 3 * 3].key),
          fmt::format("remove {}, or limit reads and writes one by one", names[i / 3 * 3].key));
    if (burst > 0 && per_second == 0)
      table.problem(key + "_burst", fmt::format("a burst of what has no limit; wanted {} with it", key),
                    fmt::format("set {}, or remove {}_burst", key, key));
    else if (burst > 0 && burst <= per_second)
      table.problem(key + "_burst", fmt::format("is not above {}; wanted more than is always allowed", key),
                    fmt::format("raise it, or remove it: without a burst {} holds at every moment", key));
  }
  const bool bursts = std::ranges::any_of(limit.rates, [](const auto& rate) { return rate.burst > 0; });
  if (limit.burst_seconds > 1 && !bursts)
    table.problem("burst_seconds", "given without any burst; wanted the rate that may be reached for that long",
                  "set iops_burst or bytes_burst (or one of the others), or remove burst_seconds");
}

}  // namespace

std::string read_shared_name(TableReader& table, const char* key) {
  constexpr std::size_t longest = 32;
  std::string name = table.text(key, "");
  if (name.empty()) return {};
  const auto good = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; };
  if (name.size() <= longest && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
      std::ranges::all_of(name, good))
    return name;
  table.problem(key,
                fmt::format("{}; wanted 1 to {} letters, digits, '_' or '-', a letter or digit first",
                            name.size() > longest ? fmt::format("this name has {} bytes", name.size())
                                                  : fmt::format("\"{}\" cannot be a name", printable(name)),
                            longest),
                fmt::format("for example {} = \"shared\", the same on each disk that shall share it", key));
  return {};
}

DiskLimit DiskLimit::read(TableReader& table) {
  DiskLimit limit;
  for (std::size_t i = 0; i < names.size(); ++i)
    limit.rates[i].per_second = read_rate(table, names[i].key, names[i].bytes);
  for (std::size_t i = 0; i < names.size(); ++i)
    limit.rates[i].burst = read_rate(table, std::string(names[i].key) + "_burst", names[i].bytes);
  limit.burst_seconds = static_cast<unsigned>(table.integer("burst_seconds", 1, 1, 3600));
  limit.group = read_shared_name(table, "group");
  check_rates(table, limit);
  return limit;
}

boost::json::object throttle_limits(const DiskLimit& limit) {
  boost::json::object out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& [per_second, burst] = limit.rates[i];
    const std::string name = names[i].qapi;
    if (per_second > 0) out[name] = per_second;
    if (burst > 0) out[name + "-max"] = burst;
    if (burst > 0 && limit.burst_seconds > 1) out[name + "-max-length"] = limit.burst_seconds;
  }
  return out;
}

std::string text_of(const DiskLimit& limit) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::uint64_t rate = limit.rates[i].per_second;
    if (rate == 0) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", names[i].key,
                        names[i].bytes ? topology::to_string(topology::Bytes{rate}) : std::to_string(rate));
  }
  return text;
}

}  // namespace launcher::devices
