// A plan as JSON (plan.json of a running VM is one), read in parts: what is not of the wanted kind is not there.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline record {

std::string text_or_none(const boost::json::object& object, std::string_view key);

struct PlanStep {
  std::string kind;                           // "open_file"
  const boost::json::object* step = nullptr;  // its members
  std::string role;                           // "disk[0].path": the part of the spec that it comes from
};
std::vector<PlanStep> steps_of(const boost::json::object& plan);

// Addresses of the host's PCI functions that the guest has.
std::vector<std::string> functions_of(const boost::json::object& plan);

}  // namespace launcher::record
