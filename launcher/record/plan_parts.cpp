#include "launcher/record/plan_parts.hpp"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

namespace launcher::inline record {

namespace json = boost::json;

namespace {

std::vector<const json::object*> objects_in(const json::object& plan, std::string_view key) {
  std::vector<const json::object*> found;
  const json::value* items = plan.if_contains(key);
  if (items == nullptr || !items->is_array()) return found;
  for (const json::value& item : items->get_array())
    if (item.is_object()) found.push_back(&item.get_object());
  return found;
}

std::string role_of(const json::object& planned) {
  const std::string origin = text_or_none(planned, "origin");
  constexpr std::string_view spec = "spec ";
  return origin.starts_with(spec) ? origin.substr(spec.size()) : origin;
}

}  // namespace

std::string text_or_none(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

std::vector<PlanStep> steps_of(const json::object& plan) {
  std::vector<PlanStep> found;
  for (const json::object* planned : objects_in(plan, "steps")) {
    const json::value* step = planned->if_contains("step");
    if (step == nullptr || !step->is_object()) continue;
    for (const auto& [kind, members] : step->get_object())
      if (members.is_object()) found.push_back({std::string(kind), &members.get_object(), role_of(*planned)});
  }
  return found;
}

std::vector<std::string> functions_of(const json::object& plan) {
  std::vector<std::string> found;
  for (const json::object* function : objects_in(plan, "functions"))
    found.push_back(text_or_none(*function, "address"));
  return found;
}

}  // namespace launcher::record
