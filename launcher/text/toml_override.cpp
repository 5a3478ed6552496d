// --set KEY=VALUE into the merged document.
#include <fmt/format.h>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_loader.hpp"

namespace launcher::inline text {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view set_option = "--set ";

void move_to(TomlNode& node, unsigned source, unsigned shift) {
  for (TomlPlace* place : {&node.value_place, &node.name_place}) {
    place->source = source;
    place->span.column += shift;
    place->span.end_column += shift;
  }
  for (TomlNode& child : node.children) move_to(child, source, shift);
}

// The value after the '=' of a --set, at `column` of its origin: TOML, or else a bare string.
TomlNode override_value(std::string_view text, unsigned source, unsigned column) {
  constexpr std::string_view before = "v = ";
  const unsigned length = static_cast<unsigned>(count_code_points(text));
  std::expected<TomlNode, TomlSyntaxError> parsed = parse_toml(fmt::format("{}{}", before, text), source);
  if (parsed && text.find('\n') == text.npos && parsed->children.size() == 1) {
    TomlNode value = std::move(parsed->children[0]);
    const bool whole = value.value_place.span.end_column == before.size() + length + 1;
    move_to(value, source, column - static_cast<unsigned>(before.size()) - 1);
    if (whole && value.kind != Kind::date) return value;
  }
  TomlNode bare;
  bare.kind = Kind::text;
  bare.text = text;
  bare.value_place = {source, {1, column, 1, column + length}};
  return bare;
}

}  // namespace

void TomlLoader::apply(const std::string& override_text) {
  const unsigned source = static_cast<unsigned>(impl->sources.size());
  const std::string origin = std::string(set_option) + override_text;
  std::error_code ignored;
  fs::path here = fs::current_path(ignored);
  impl->sources.push_back({"", origin, here.empty() ? fs::path("/") : here, {origin}, {}});
  const unsigned start = static_cast<unsigned>(set_option.size()) + 1;
  const auto span = [&](std::size_t from, std::size_t to) {
    const auto column = [&](std::size_t at) {
      return start + static_cast<unsigned>(count_code_points(std::string_view(override_text).substr(0, at)));
    };
    return TomlPlace{source, {1, column(from), 1, column(to)}};
  };
  const std::size_t equals = override_text.find('=');
  if (equals == override_text.npos)
    return fail(
        {"", fmt::format("{} has no '='; wanted key=value", shown(override_text)), "for example --set cpu.count=4"},
        span(0, override_text.size()));
  const std::string_view path = std::string_view(override_text).substr(0, equals);
  const std::expected<std::vector<TomlStep>, std::string> steps = split_key_path(path);
  if (!steps)
    return fail({"", fmt::format("{} is no key: {}", shown(path), steps.error()), "for example --set cpu.count=4"},
                span(0, equals));
  if (steps->front().name == "include")
    return fail({"include", "given by --set; wanted in a file: when a --set is looked at, all files are merged",
                 "put it into the spec"},
                span(0, equals));
  std::vector<TomlStep> placed = *steps;
  for (TomlStep& step : placed) step.column += start - 1, step.end_column += start - 1;
  set(override_value(std::string_view(override_text).substr(equals + 1), source,
                     span(equals + 1, equals + 1).span.column),
      placed, source);
}

// The child that a --set goes through, made where there is none; nullptr, with a problem, where there cannot be one.
TomlNode* TomlLoader::step_into(TomlNode& parent, const TomlStep& step, bool to_list, const TomlPlace& place,
                                const std::string& key) {
  const bool of_list = parent.kind == Kind::list;
  if (of_list ? !step.index : parent.kind != Kind::table) {
    if (of_list)
      fail({key, fmt::format("a list has no \"{}\"; wanted an index first", step.name),
            fmt::format("name one: {}.0.{}=...", key, step.name)},
           place);
    else
      fail(
          {key, found(parent) + ", which has no keys; wanted a table", fmt::format("to replace it: --set {}=...", key)},
          place);
    return nullptr;
  }
  if (of_list && *step.index > parent.children.size()) {
    fail({fmt::format("{}[{}]", key, *step.index),
          fmt::format("there {} {} of these; wanted an index from 0 to {}", parent.children.size() == 1 ? "is" : "are",
                      parent.children.size(), parent.children.size()),
          fmt::format("--set {}.{}... adds one", key, parent.children.size())},
         place);
    return nullptr;
  }
  TomlNode* child = of_list ? (*step.index < parent.children.size() ? &parent.children[*step.index] : nullptr)
                            : parent.member(step.name);
  if (child) return child;
  TomlNode made;
  made.kind = to_list ? Kind::list : Kind::table;
  if (!of_list) made.name = step.name;
  made.of_tables = to_list;
  made.value_place = made.name_place = place;
  if (!of_list) return &parent.add_member(std::move(made));
  parent.children.push_back(std::move(made));
  return &parent.children.back();
}

void TomlLoader::set(TomlNode value, const std::vector<TomlStep>& steps, unsigned source) {
  TomlNode* at = &impl->root;
  std::string key;
  TomlPlace place;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const TomlStep& step = steps[i];
    place = {source, {1, step.column, 1, step.end_column}};
    const bool to_list = i + 1 < steps.size() && steps[i + 1].index.has_value();
    TomlNode* next = step_into(*at, step, to_list, place, key);
    if (!next) return;
    key += at->kind == Kind::list ? fmt::format("[{}]", step.name) : (key.empty() ? "" : ".") + step.name;
    at = next;
  }
  value.name = at->name;
  value.name_place = place;
  *at = std::move(value);
}

}  // namespace launcher::text
