// What a launch reads of this machine, and the plan it would make of it. The rule: nothing is written here and no lock is taken.
#pragma once

#include <chrono>
#include <expected>
#include <filesystem>
#include <functional>
#include <string>

#include "launcher/host/host.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/plan/plan.hpp"

namespace launcher::inline life {

// What a launch needs to know of the world, so that a test can give another one.
struct World {
  Host& host;
  std::filesystem::path base;                         // of the run directories
  std::function<topology::HostTopology()> read_host;  // read under the lock
  std::function<Facts(const Spec&)> facts;            // images are looked at before the lock
  std::function<std::expected<QemuFeatures, std::string>()> features;
  HostConfig config;
  std::function<void(const LaunchPlan&)> approve = {};  // asked before anything is done; throws to refuse this plan
  MemoryOf memory_of = topology::read_huge_pages;       // where a process's pages lie
  std::chrono::milliseconds patience{30'000};           // for one QMP command
  std::chrono::milliseconds start_patience{
      std::chrono::hours(1)};  // preallocating a terabyte takes minutes; the user sees progress and can leave
};
World this_world(Host& host, const HostConfig& config, Cache cache = Cache::store);

// The plan alone, by the same calls; nothing is written and no lock is taken.
struct Planned {
  LaunchPlan plan;
  topology::HostTopology host;  // as it was read
};
enum class Ledger { read, none };  // none: planning for another machine
std::expected<Planned, Problems> plan_only(const Spec& spec, World& world, Ledger ledger);

}  // namespace launcher::life
