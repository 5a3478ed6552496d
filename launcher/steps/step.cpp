// What is the same for every kind of step and undo: a kind's own member is called, and its JSON is {"KIND": {...}}.
#include "launcher/steps/step.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include "launcher/steps/context.hpp"
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
boost::json::value kind_to_json(const Variant& one) {
  boost::json::object out;
  std::visit([&](const auto& kind) { out[kind.kind] = topology::json::write(kind); }, one);
  return out;
}

template <class Variant>
std::expected<Variant, std::string> kind_from_json(const boost::json::value& json) {
  const boost::json::object* object = json.if_object();
  if (object == nullptr || object->size() != 1) return std::unexpected("wanted an object of one member, its kind");
  const std::string_view kind = object->begin()->key();
  const boost::json::value& body = object->begin()->value();
  std::expected<Variant, std::string> result = std::unexpected(fmt::format("unknown kind '{}'", kind));
  boost::mp11::mp_for_each<boost::mp11::mp_transform<std::type_identity, Variant>>([&](auto type) {
    using Kind = typename decltype(type)::type;
    if (kind != Kind::kind) return;
    try {
      result = Variant{topology::json::read<Kind>(body, std::string(kind))};
    } catch (const std::invalid_argument& wrong) {
      result = std::unexpected(wrong.what());
    }
  });
  return result;
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

boost::json::value to_json(const Step& step) { return kind_to_json(step); }
boost::json::value to_json(const Undo& undo) { return kind_to_json(undo); }
std::expected<Step, std::string> step_from_json(const boost::json::value& json) { return kind_from_json<Step>(json); }
std::expected<Undo, std::string> undo_from_json(const boost::json::value& json) { return kind_from_json<Undo>(json); }

}  // namespace launcher::steps
