#include "launcher/spec/profiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/spec/read_spec.hpp"
#include "launcher/text/toml_profile.hpp"

namespace launcher::inline spec {

const std::vector<Profile>& profiles() {  // NOLINT(readability-function-size): a table
  static const std::vector<Profile> all = {
      {"latency",
       R"(# As little as possible between the guest and its CPUs: guide 001 (cpu-pm, lock, polling), guide 003 (trading).
[cpu]
siblings = "isolate"
pm = true
[memory]
prealloc = true
lock = true
[host]
governor = "auto"
energy = "auto"
[each.disk]
cache = "none"
poll_max_ns = 100000
[each.net]
packed = "auto"
[each.guest]
rq_affinity = 2
haltpoll = 50000
)"},
      {"throughput", R"(# Long queues, one for each vCPU: guide 001 (multiqueue), guide 004.
[memory]
prealloc = true
[each.disk]
cache = "none"
queue_size = 1024
[each.net]
rx_queue_size = 1024
[each.guest]
sysctls = "guide 004"
rq_affinity = 2
)"},
      {"database",
       R"(# Its own memory, never swapped; its disks past the page cache, which the database has itself: guide 003 (PostgreSQL).
[cpu]
siblings = "prefer"
[memory]
prealloc = true
lock = true
[each.disk]
cache = "none"
detect_zeroes = "off"
[each.guest]
swappiness = 1
rq_affinity = 2
)"},
      {"density", R"(# Many guests on one host, their CPUs and memory shared: guide 003 (cloud provider).
[cpu]
pin = "off"
[memory]
page = "4K"
prealloc = false
merge = true
[balloon]
free_page_reporting = true
[each.disk]
queues = 1
detect_zeroes = "unmap"
[each.net]
queues = 1
)"},
      {"windows", R"(# What Windows 11 asks for: its interfaces, UEFI with keys, a TPM.
windows = true
[boot]
firmware = "uefi"
secure_boot = true
[tpm]
)"},
      {"lab",
       R"(# A guest to try things on: it takes nothing from the host for good, and its disks are as before afterwards.
[cpu]
pin = "off"
[memory]
page = "4K"
prealloc = false
[rng]
[each.disk]
ephemeral = true
)"},
  };
  return all;
}

std::vector<std::string> profile_names() {
  std::vector<std::string> names;
  for (const Profile& profile : profiles()) names.emplace_back(profile.name);
  return names;
}

const std::vector<std::pair<std::string_view, std::string_view>>& values_without_profile() {
  static const std::vector<std::pair<std::string_view, std::string_view>> all = {
      {"cpu.pin", "\"auto\""},
      {"cpu.siblings", "\"prefer\""},
      {"cpu.pm", "false"},
      {"memory.page", "\"auto\""},
      {"memory.prealloc", "\"auto\""},
      {"memory.lock", "false"},
      {"memory.merge", "false"},
      {"host.governor", "\"keep\""},
      {"host.energy", "\"keep\""},
      {"disk[].cache", "\"none\""},
      {"disk[].queues", "\"auto\""},
      {"disk[].queue_size", "\"auto\""},
      {"disk[].poll_max_ns", "\"auto\""},
      {"disk[].detect_zeroes", "\"off\""},
      {"net[].queues", "\"auto\""},
      {"net[].packed", "\"auto\""},
      {"net[].rx_queue_size", "\"auto\""},
      {"guest.sysctls", "[]"},
      {"guest.rq_affinity", "\"auto\""},
      {"guest.haltpoll", "\"auto\""},
      {"guest.swappiness", "\"auto\""},
  };
  return all;
}

ProfileKnobs profile_knobs(const TomlDocument& document) {
  ProfileKnobs found;
  const std::map<std::string, std::string> now = document.values(spec_keys());
  for (const std::string& key : profile_keys(document)) {
    std::string pattern = key;
    std::erase_if(pattern, [](unsigned char c) { return std::isdigit(c) != 0; });
    const auto& table = values_without_profile();
    const auto row = std::ranges::find(table, pattern, [](const auto& one) { return one.first; });
    if (row == table.end())
      found.others.push_back(key);
    else if (const auto is = now.find(key); is == now.end() || is->second != row->second)
      found.knobs.push_back(fmt::format("{}={}", key, row->second));
  }
  return found;
}

}  // namespace launcher::spec
