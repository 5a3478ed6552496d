#include "launcher/commands/summary.hpp"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fstream>

#include "launcher/guest/access.hpp"
#include "launcher/text/json_member.hpp"
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

std::string address_of(const Access& access) {
  if (!access.forwarded.empty()) {
    const Endpoint& first = access.forwarded.front();
    return fmt::format(first.address.find(':') == std::string::npos ? fmt::runtime("{}:{}") : fmt::runtime("[{}]:{}"),
                       first.address, first.port);
  }
  return access.cid ? fmt::format("vsock:{}", *access.cid) : "";
}

const boost::json::array* list_in(const boost::json::value& value, const char* name) {
  const boost::json::value* found = member(value, name);
  return found == nullptr ? nullptr : found->if_array();
}

}  // namespace

Given given_to(const VmDir& dir) {
  Given given;
  std::getline(std::ifstream(dir.path() / "spec"), given.spec);
  const auto plan = dir.read_plan();
  const boost::json::value* placement = plan ? member(*plan, "placement") : nullptr;
  if (placement == nullptr) return given;
  if (const auto* vcpus = list_in(*placement, "vcpus")) given.vcpus = vcpus->size();
  if (const auto* cells = list_in(*placement, "cells"))
    for (const boost::json::value& cell : *cells)
      given.memory = given.memory + topology::parse_bytes(text_of(member(cell, "size"))).value_or(topology::Bytes{});
  given.address = address_of(access_of(dir.name(), *plan));
  return given;
}

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
  const Given given = given_to(dir);
  out["vcpus"] = given.vcpus;
  out["memory"] = given.memory.count;
  out["address"] = given.address;
  out["spec"] = given.spec;
  return out;
}

}  // namespace launcher::commands
