#include "launcher/commands/summary.hpp"

#include <boost/json/object.hpp>

#include "topology/placement_json.hpp"

namespace launcher::commands {

namespace {

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::running:
      return "running";
    case Phase::paused:
      return "paused";
    case Phase::stopping:
      return "stopping";
  }
  return "?";
}

}  // namespace

std::string phase_of(const VmDir& dir, const State& state) {
  return dir.owner_alive() ? name_of(state.phase) : "crashed";
}

boost::json::object summary(const VmDir& dir) {
  const State state = dir.read_state();
  const topology::Reservation held = dir.reservation();
  const auto owner = dir.owner();
  boost::json::object out{{"name", dir.name()}, {"phase", phase_of(dir, state)}, {"cpus", held.cpus.to_string()}};
  out["pid"] = owner ? boost::json::value(owner->pid) : boost::json::value(nullptr);
  out["qemu"] = state.qemu ? boost::json::value(state.qemu->pid) : boost::json::value(nullptr);
  out["pages"] = topology::json::write(held.pages);
  out["since"] = state.since;
  return out;
}

}  // namespace launcher::commands
