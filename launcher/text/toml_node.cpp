// Key paths, and words for a node in messages. See toml_node.hpp.
#include "launcher/text/toml_node.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "launcher/text/printable.hpp"

namespace launcher::inline text {

namespace {

// Where the member of that name stands, or would.
auto place_of(auto& children, std::string_view key) {
  return std::lower_bound(children.begin(), children.end(), key,
                          [](const TomlNode& child, std::string_view name) { return child.name < name; });
}

}  // namespace

const TomlNode* TomlNode::member(std::string_view key) const {
  if (kind != Kind::table) return nullptr;
  const auto at = place_of(children, key);
  return at != children.end() && at->name == key ? &*at : nullptr;
}

TomlNode* TomlNode::member(std::string_view key) { return const_cast<TomlNode*>(std::as_const(*this).member(key)); }

TomlNode& TomlNode::add_member(TomlNode child) {
  const auto at = place_of(children, child.name);
  return *children.insert(at, std::move(child));
}

namespace {

constexpr std::size_t most_steps = 32;  // each is a level of nested tables

bool is_bare(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-'; }

// One step from the front of `rest`: a bare name, a "quoted" one, or [7].
std::expected<TomlStep, std::string> take_step(std::string_view& rest, bool first) {
  constexpr const char* wanted = "wanted names and numbers with dots between, such as cpu.count or disk.0.path";
  TomlStep step;
  if (first ? rest[0] == '[' : rest[0] != '[' && rest[0] != '.') return std::unexpected(wanted);
  if (rest[0] == '[') {
    const std::size_t close = rest.find(']');
    if (close == rest.npos || !is_index(rest.substr(1, close - 1)))
      return std::unexpected("wanted an index such as [0]");
    step.name = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
  } else {
    if (!first && rest[0] == '.') rest.remove_prefix(1);
    if (!rest.empty() && rest[0] == '"') {
      std::size_t i = 1;
      for (; i < rest.size() && rest[i] != '"'; ++i) {
        if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
        step.name += rest[i];
      }
      if (i >= rest.size()) return std::unexpected("the quote is not closed; wanted a second one");
      rest.remove_prefix(i + 1);
      return step;
    }
    const std::size_t end =
        static_cast<std::size_t>(std::find_if_not(rest.begin(), rest.end(), is_bare) - rest.begin());
    if (end == 0) return std::unexpected(wanted);
    step.name = rest.substr(0, end);
    rest.remove_prefix(end);
  }
  if (is_index(step.name)) std::from_chars(step.name.data(), step.name.data() + step.name.size(), step.index.emplace());
  return step;
}

}  // namespace

bool is_index(std::string_view text) {
  return !text.empty() && text.size() <= 6 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::expected<std::vector<TomlStep>, std::string> split_key_path(std::string_view path) {
  std::vector<TomlStep> steps;
  for (std::string_view rest = path; !rest.empty() || steps.empty();) {
    const unsigned column = 1 + static_cast<unsigned>(path.size() - rest.size());
    if (rest.empty()) return std::unexpected("there is no key; wanted one such as cpu.count");
    if (steps.size() >= most_steps) return std::unexpected("it goes too deep; wanted one such as cpu.count");
    std::expected<TomlStep, std::string> step = take_step(rest, steps.empty());
    if (!step) return std::unexpected(step.error());
    step->column = path[column - 1] == '.' ? column + 1 : column;
    step->end_column = 1 + static_cast<unsigned>(path.size() - rest.size());
    steps.push_back(std::move(*step));
  }
  return steps;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  std::size_t end = 0;
  for (std::size_t points = 0; end < text.size() && points < most; ++points) end += decode_utf8(text.substr(end)).bytes;
  return fmt::format("\"{}{}\"", printable(text.substr(0, end)), end < text.size() ? "..." : "");
}

std::string found(const TomlNode& node) {
  using enum TomlNode::Kind;
  switch (node.kind) {
    case text:
      return shown(node.text) + " is a string";
    case integer:
      return fmt::format("{} is a number", node.number);
    case real:
      return "this is a number with a fraction";
    case boolean:
      return fmt::format("{} is a boolean", node.flag);
    case date:
      return "this is a date or time";
    case list:
      return node.of_tables ? "this is a list of tables" : "this is a list";
    case table:
      break;
  }
  return "this is a table";
}

std::string listed(std::vector<std::string> parts) {
  if (parts.size() < 2) return parts.empty() ? "nothing" : parts[0];
  const std::string last = parts.back();
  parts.pop_back();
  return fmt::format("{} or {}", fmt::join(parts, ", "), last);
}

std::string in_quotes(const std::vector<std::string>& words) {
  return fmt::format("\"{}\"", fmt::join(words, "\", \""));
}

std::string listed_words(const std::vector<std::string>& words) {
  std::vector<std::string> parts;
  parts.reserve(words.size());
  for (const std::string& word : words) parts.push_back("\"" + word + "\"");
  return listed(std::move(parts));
}

bool is_auto(const TomlNode& node) { return node.kind == TomlNode::Kind::text && node.text == "auto"; }
std::string assign(std::string_view key, std::string_view value) { return fmt::format("{} = {}", key, value); }
std::string range_text(std::int64_t min, std::int64_t max) {
  return fmt::format("a whole number from {} to {}", min, max);
}

}  // namespace launcher::text
