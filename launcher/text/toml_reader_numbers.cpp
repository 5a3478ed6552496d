// TableReader: whole numbers, sizes, and lists of CPUs or nodes.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/text/toml_node.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline text {

using topology::Bytes;
using topology::CpuSet;

namespace {

constexpr const char* numbers_example = "\"0-3,8\" or [0, 1, 2, 3, 8]";

// The number within its bounds, or the problem's {what, help}.
std::expected<std::int64_t, std::pair<std::string, std::string>> bounded(std::string_view key, const TomlNode& node,
                                                                         std::int64_t min, std::int64_t max,
                                                                         std::string_view or_else) {
  const std::string wanted = range_text(min, max) + std::string(or_else);
  if (node.kind == Kind::integer && node.number >= min && node.number <= max) return node.number;
  if (node.kind == Kind::integer) {
    const bool small = node.number < min;
    return std::unexpected(
        std::pair(fmt::format("{} is too {}; wanted {}", node.number, small ? "small" : "large", wanted),
                  fmt::format("set {} to {} {}", key, small ? "at least" : "at most", small ? min : max)));
  }
  if (node.kind == Kind::text && is_index(node.text))
    return std::unexpected(
        std::pair(found(node) + "; wanted " + wanted, "numbers stand without quotes: " + assign(key, node.text)));
  return std::unexpected(std::pair(
      found(node) + "; wanted " + wanted,
      "for example " + assign(key, std::to_string(std::max<std::int64_t>(min, std::min<std::int64_t>(4, max))))));
}

}  // namespace

std::int64_t TableReader::integer(std::string_view key, std::int64_t fallback, std::int64_t min, std::int64_t max,
                                  bool required) {
  const TomlNode* node = impl_->note(key, {.type = "integer", .min = min, .max = max, .required = required});
  if (!node) {
    if (required) problem(key, "is missing; wanted " + range_text(min, max), "add " + assign(key, std::to_string(min)));
    return fallback;
  }
  const auto value = bounded(key, *node, min, max, "");
  if (value) return *value;
  problem(key, value.error().first, value.error().second);
  return fallback;
}

std::optional<std::int64_t> TableReader::integer_or_auto(std::string_view key, std::int64_t min, std::int64_t max) {
  const TomlNode* node = impl_->note(key, {.type = "integer", .or_auto = true, .min = min, .max = max});
  if (!node || is_auto(*node)) return {};
  const std::string words = impl_->or_choices(key);
  const auto value =
      bounded(key, *node, min, max, words.empty() ? " or \"auto\"" : fmt::format(", {}or \"auto\"", words));
  if (value) return *value;
  problem(key, value.error().first, value.error().second);
  return {};
}

namespace {

std::expected<Bytes, std::pair<std::string, std::string>> to_size(std::string_view key, const TomlNode& node,
                                                                  std::string_view wanted) {
  if (node.kind == Kind::integer)
    return std::unexpected(
        std::pair(fmt::format("{} has no unit; wanted {}", node.number, wanted),
                  fmt::format("write it in quotes with K, M, G or T: {}",
                              assign(key, fmt::format("\"{}M\"", std::max<std::int64_t>(node.number, 1))))));
  if (node.kind != Kind::text)
    return std::unexpected(
        std::pair(fmt::format("{}; wanted {}", found(node), wanted), "for example " + assign(key, "\"4G\"")));
  const std::expected<Bytes, std::string> size = topology::parse_bytes(node.text);
  if (size) return *size;
  const std::string said = size.error().substr(0, size.error().find("; wanted")), near = size_meant(node.text);
  return std::unexpected(
      std::pair(fmt::format("{}; wanted {}", said, wanted),
                near.empty() ? fmt::format("for example {} or {}", assign(key, "\"1536M\""), assign(key, "\"4G\""))
                             : "write " + assign(key, "\"" + near + "\"")));
}

}  // namespace

Bytes TableReader::size(std::string_view key, Bytes fallback, Bytes min, Bytes max) {
  const TomlNode* node = impl_->note(
      key, {.type = "size", .min = static_cast<std::int64_t>(min.count), .max = static_cast<std::int64_t>(max.count)});
  if (!node) return fallback;
  const std::string wanted = fmt::format("a size from {} to {}", topology::to_string(min), topology::to_string(max));
  const auto value = to_size(key, *node, wanted);
  if (!value) {
    problem(key, value.error().first, value.error().second);
  } else if (*value < min || *value > max) {
    const bool small = *value < min;
    const bool no_unit = small && is_index(node->text);
    problem(key,
            fmt::format("{} is too {}; wanted {}", no_unit ? node->text + " bytes" : topology::to_string(*value),
                        small ? "small" : "large", wanted),
            no_unit ? fmt::format("give the unit: {}", assign(key, "\"" + node->text + "M\""))
                    : fmt::format("set {} to {} \"{}\"", key, small ? "at least" : "at most",
                                  topology::to_string(small ? min : max)));
  } else {
    return *value;
  }
  return fallback;
}

Bytes TableReader::required_size(std::string_view key, Bytes min, Bytes max) {
  const Bytes value = size(key, {0}, min, max);
  if (impl_->keys) impl_->keys->back().required = true;
  if (!has(key))
    problem(key, "is missing; wanted a size",
            fmt::format("add {}{}", assign(key, "\"4G\""),
                        impl_->node || impl_->path.empty() ? "" : " below a line [" + impl_->path + "]"));
  return value;
}

namespace {
// Of a page size: "huge" and its like are 2M, "thp" is the word for transparent ones where it is a choice.
std::string size_help(std::string_view key, const TomlNode& node, const std::vector<std::string>& words,
                      const std::string& more) {
  const bool huge = node.kind == Kind::text && node.text.starts_with("huge") && words.size() > 2;
  const bool transparent = node.kind == Kind::text && (node.text == "thp" || node.text == "THP");
  if (transparent && more.find("\"transparent\"") != more.npos) return "did you mean \"transparent\"?";
  if (huge) return fmt::format("did you mean {}?", assign(key, "\"" + words[1] + "\""));
  return "write one of these, in quotes: " + assign(key, "\"" + words.front() + "\"");
}
}  // namespace

std::optional<Bytes> TableReader::size_or_auto(std::string_view key, const std::vector<Bytes>& allowed) {
  std::vector<std::string> words;
  words.reserve(allowed.size() + 1);
  for (Bytes size : allowed) words.push_back(topology::to_string(size));
  const TomlNode* node = impl_->note(key, {.type = "string", .choices = words, .or_auto = true});
  if (!node || is_auto(*node)) return {};
  words.emplace_back("auto");
  const auto value = to_size(key, *node, listed_words(words));
  if (!value) {
    problem(key, value.error().first, size_help(key, *node, words, impl_->or_choices(key)));
  } else if (std::find(allowed.begin(), allowed.end(), *value) == allowed.end()) {
    problem(key,
            fmt::format("{} is none of the sizes possible here; wanted {}", shown(node->text), listed_words(words)),
            "choose one of these, or leave it out for \"auto\"");
  } else {
    return *value;
  }
  return {};
}

std::optional<std::vector<unsigned>> TableReader::numbers_or_auto(std::string_view key) {
  const TomlNode* node = impl_->note(key, {.type = "cpus", .or_auto = true});
  if (!node || is_auto(*node)) return {};
  const std::string wanted = fmt::format("{}\"auto\" or numbers such as {}", impl_->or_choices(key), numbers_example);
  const std::string help = fmt::format("for example {} or {}", assign(key, "\"4-7\""), assign(key, "[4, 5, 6, 7]"));
  const bool is_list = node->kind == Kind::text && CpuSet::parse(node->text);  // "0" and "1" are
  if (meant_flag(*node) && node->kind != Kind::integer && !is_list) {  // true, "yes": a word, where there are words
    const bool off = !*meant_flag(*node) && wanted.find("\"off\"") != wanted.npos;
    problem(key, fmt::format("{}; wanted {}", found(*node), wanted),
            "write " + assign(key, off ? "\"off\"" : "\"auto\""));
  } else if (node->kind == Kind::integer) {
    problem(key, fmt::format("{}; wanted {}", found(*node), wanted),
            fmt::format("write a single one as {}", assign(key, fmt::format("[{}]", node->number))));
  } else if (node->kind == Kind::text && !node->text.empty()) {
    if (const std::expected<CpuSet, std::string> set = CpuSet::parse(node->text); !set)
      problem(key, fmt::format("{}; wanted {}", set.error(), wanted), help);
    else if (set->empty())
      problem(key, fmt::format("{} leaves nothing; wanted {}", shown(node->text), wanted), help);
    else
      return set->to_vector();
  } else if (node->kind == Kind::list && !node->children.empty()) {
    std::vector<unsigned> numbers;
    for (std::size_t i = 0; i < node->children.size(); ++i) {
      const TomlNode& item = node->children[i];
      const bool good = item.kind == Kind::integer && item.number >= 0 && item.number <= CpuSet::max_cpu;
      if (good)
        numbers.push_back(static_cast<unsigned>(item.number));
      else
        problem(fmt::format("{}[{}]", key, i),
                fmt::format("{}; wanted {}", found(item), range_text(0, CpuSet::max_cpu)),
                "a range stands in one string instead of the list: " + assign(key, "\"4-7\""));
    }
    if (numbers.size() == node->children.size()) return numbers;
  } else {
    const bool empty = node->kind == Kind::text || node->kind == Kind::list;
    problem(key, fmt::format("{}; wanted {}", empty ? "is empty" : found(*node), wanted), help);
  }
  return {};
}

std::optional<CpuSet> TableReader::cpus_or_auto(std::string_view key) {
  const std::optional<std::vector<unsigned>> numbers = numbers_or_auto(key);
  if (!numbers) return {};
  CpuSet set;
  for (unsigned cpu : *numbers) set.add(cpu);
  return set;
}

}  // namespace launcher::text
