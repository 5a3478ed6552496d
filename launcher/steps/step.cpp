// What is the same for every kind of step and undo: a kind's own member is called, and its JSON is {"KIND": {...}}.
#include "launcher/steps/step.hpp"

#include <boost/json.hpp>
#include <optional>
#include <stdexcept>

#include "launcher/steps/context.hpp"
#include "launcher/steps/old_kinds.hpp"
#include "topology/placement_json.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline steps {

namespace {

template <class T>
void append(std::vector<Undo>& undos, const T& undo) {
  undos.emplace_back(undo);
}
template <class T>
void append(std::vector<Undo>& undos, const std::optional<T>& undo) {
  if (undo) undos.emplace_back(*undo);
}

template <class Variant>
std::expected<Variant, std::string> read_kind(const boost::json::value& json) {
  try {
    return topology::json::read<Variant>(json);
  } catch (const std::invalid_argument& wrong) {
    return std::unexpected(wrong.what());
  }
}

}  // namespace

std::string describe(const Step& step) {
  return std::visit([](const auto& one) { return one.describe(); }, step);
}
std::string describe(const Undo& undo) {
  return std::visit([](const auto& one) { return one.describe(); }, undo);
}

std::vector<Undo> undo_of(const Step& step) {
  std::vector<Undo> undos;
  std::visit(
      [&](const auto& one) {
        if constexpr (requires { one.undo(); }) append(undos, one.undo());
      },
      step);
  return undos;
}

bool is_locked(const Step& step) {
  return std::visit(
      [](const auto& one) {
        if constexpr (requires { one.locked; }) return one.locked;
        return false;
      },
      step);
}

std::vector<Undo> precheck(const Step& step, PerformContext& context) {
  std::vector<Undo> undos;
  std::visit(
      [&](const auto& one) {
        if constexpr (requires { one.precheck(context); })
          append(undos, one.precheck(context));
        else
          undos = undo_of(step);
      },
      step);
  return undos;
}

void perform(const Step& step, PerformContext& context) {
  std::visit([&](const auto& one) { one.perform(context); }, step);
}
void perform(const Undo& undo, UndoContext& context) {
  std::visit([&](const auto& one) { one.perform(context); }, undo);
}

boost::json::value to_json(const Step& step) { return topology::json::write(step); }
boost::json::value to_json(const Undo& undo) { return topology::json::write(undo); }
std::expected<Step, std::string> step_from_json(const boost::json::value& json) {
  return read_kind<Step>(in_words_of_today(json, false));
}
std::expected<Undo, std::string> undo_from_json(const boost::json::value& json) {
  return read_kind<Undo>(in_words_of_today(json, true));
}

}  // namespace launcher::steps
