// TableReader: one typed read after the other; see toml_reader.hpp for the rules.
#include "launcher/text/toml_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "launcher/text/printable.hpp"
#include "launcher/text/problem.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

std::string TableReader::Impl::join(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

// Every read begins here: the key is known from now on. The value, or nullptr if there is none.
const TomlNode* TableReader::Impl::note(std::string_view key, KeyInfo info) {
  if (std::find(asked.begin(), asked.end(), key) == asked.end()) asked.emplace_back(key);
  if (info.type == "table") in_brackets[std::string(key)] = fmt::format("[{}]", join(pattern, key));
  if (info.type == "tables") in_brackets[std::string(key)] = fmt::format("[[{}]]", join(pattern, key));
  if (keys) {
    info.path = join(pattern, key);
    const std::vector<std::string> more =
        more_choices.contains(key) ? more_choices.find(key)->second : std::vector<std::string>();
    const bool any_text = info.type == "string" && info.choices.empty();  // then "auto" is one text of many
    if (any_text) {
      info.or_auto = std::find(more.begin(), more.end(), "auto") != more.end();
      info.words = more;
    } else {
      info.choices.insert(info.choices.begin(), more.begin(), more.end());
    }
    if (info.or_auto && !any_text) info.choices.insert(info.choices.begin(), "auto");
    keys->push_back(std::move(info));
  }
  return get(key);
}

// `, "off"` for each choice that is_text() asked for, to be put before `or ...`.
std::string TableReader::Impl::or_choices(std::string_view key) const {
  const auto more = more_choices.find(key);
  return more == more_choices.end() ? "" : in_quotes(more->second) + ", ";
}

TableReader::TableReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TableReader::TableReader(const TomlDocument& document, Problems& problems, std::vector<KeyInfo>* keys,
                         const std::vector<KeyInfo>* known)
    : impl_(
          std::make_unique<Impl>(Impl{&document, &problems, keys, known, &document.impl().root, "", "", {}, {}, {}})) {}

TableReader TableReader::Impl::inner(const TomlNode* table, const std::string& name,
                                     const std::string& name_in_pattern) const {
  Impl one{document, problems, keys, known, table, join(path, name), join(pattern, name_in_pattern), {}, {}, {}};
  one.unknown = unknown;
  return make(std::move(one));
}

std::string TableReader::text(std::string_view key, std::string fallback) {
  const TomlNode* node = impl_->note(key, {.type = "string"});
  if (!node) return fallback;
  if (node->kind != Kind::text) {
    const std::string as_text = node->kind == Kind::integer   ? std::to_string(node->number)
                                : node->kind == Kind::boolean ? fmt::format("{}", node->flag)
                                                              : "...";
    problem(key, found(*node) + "; wanted a string",
            fmt::format("strings need quotes: {}", assign(key, "\"" + as_text + "\"")));
    return fallback;
  }
  if (node->text.find('\0') != node->text.npos) {
    problem(key, fmt::format("{} contains a NUL byte; wanted text without", shown(node->text)),
            "remove \\u0000 from it");
    return fallback;
  }
  return node->text;
}

std::string TableReader::required_text(std::string_view key) {
  std::string value = text(key, "");
  if (impl_->keys) impl_->keys->back().required = true;
  if (!has(key))
    problem(key, "is missing; wanted a string", "add " + assign(key, "\"...\""));
  else if (value.empty() && impl_->get(key)->kind == Kind::text && impl_->get(key)->text.empty())
    problem(key, "is empty; wanted a string", "write " + assign(key, "\"...\""));
  return value;
}

std::string TableReader::path(std::string_view key, bool required) {
  std::string value = text(key, "");
  if (impl_->keys) {
    impl_->keys->back().required = required;
    impl_->keys->back().is_path = true;
  }
  const TomlNode* node = impl_->get(key);
  if (required && (!node || (node->kind == Kind::text && node->text.empty())))
    problem(key, fmt::format("is {}; wanted the path of a file", node ? "empty" : "missing"),
            fmt::format("{} {}", node ? "write" : "add", assign(key, "\"/path/to/file\"")));
  if (value.empty()) return {};
  const std::filesystem::path given(value);
  if (given.is_absolute()) return value;
  return (impl_->document->directory_of(full_key(key)) / given).lexically_normal().string();
}

namespace {
std::string flag_help(std::string_view key, const TomlNode& node) {
  if (const auto flag = meant_flag(node))
    return fmt::format("write {}, without quotes", assign(key, *flag ? "true" : "false"));
  return fmt::format("write {} or {}, without quotes", assign(key, "true"), assign(key, "false"));
}
}  // namespace

bool TableReader::flag(std::string_view key, bool fallback) {
  const TomlNode* node = impl_->note(key, {.type = "boolean"});
  if (!node) return fallback;
  if (node->kind == Kind::boolean) return node->flag;
  const auto more = impl_->more_choices.find(key);
  problem(key,
          fmt::format("{}; wanted true{}", found(*node),
                      more == impl_->more_choices.end() ? " or false" : ", false or " + in_quotes(more->second)),
          flag_help(key, *node));
  return fallback;
}

std::optional<bool> TableReader::flag_or_auto(std::string_view key) {
  const TomlNode* node = impl_->note(key, {.type = "boolean", .or_auto = true});
  if (!node || is_auto(*node)) return {};
  if (node->kind == Kind::boolean) return node->flag;
  problem(key, found(*node) + "; wanted true, false or \"auto\"",
          meant_flag(*node)
              ? flag_help(key, *node)
              : fmt::format("write {}, {} or {}", assign(key, "true"), assign(key, "false"), assign(key, "\"auto\"")));
  return {};
}

std::vector<std::string> TableReader::texts(std::string_view key) {
  const TomlNode* node = impl_->note(key, {.type = "list"});
  std::vector<std::string> all;
  if (!node) return all;
  if (node->kind != Kind::list) {
    problem(key, found(*node) + "; wanted a list of strings",
            fmt::format("write {}",
                        assign(key, fmt::format("[{}]", node->kind == Kind::text ? shown(node->text) : "\"...\""))));
    return all;
  }
  for (std::size_t i = 0; i < node->children.size(); ++i) {
    const TomlNode& item = node->children[i];
    const std::string item_key = fmt::format("{}[{}]", key, i);
    if (item.kind != Kind::text)
      problem(
          item_key, found(item) + "; wanted a string",
          item.kind == Kind::integer ? fmt::format("write it in quotes: \"{}\"", item.number) : "write it in quotes");
    else if (item.text.find('\0') != item.text.npos)
      problem(item_key, shown(item.text) + " contains a NUL byte; wanted text without", "remove \\u0000 from it");
    all.push_back(item.kind == Kind::text ? item.text : "");
  }
  return all;
}

std::size_t TableReader::choice(std::string_view key, const std::vector<std::string>& choices, std::size_t fallback) {
  const bool or_auto = choices.front() == "auto";
  const TomlNode* node =
      impl_->note(key, {.type = "string", .choices = {choices.begin() + or_auto, choices.end()}, .or_auto = or_auto});
  if (!node) return fallback;
  const auto match = node->kind == Kind::text ? std::find(choices.begin(), choices.end(), node->text) : choices.end();
  if (match != choices.end()) return static_cast<std::size_t>(match - choices.begin());
  const std::string near = meant(*node, choices);
  problem(
      key,
      fmt::format("{}; wanted {}", node->kind == Kind::text ? shown(node->text) + " is not known here" : found(*node),
                  listed_words(choices)),
      !near.empty() ? fmt::format("did you mean \"{}\"?", near)
                    : fmt::format("choose one of these, for example {}", assign(key, "\"" + choices[fallback] + "\"")));
  return fallback;
}

bool TableReader::has(std::string_view key) const { return impl_->get(key) != nullptr; }

bool TableReader::is_text(std::string_view key, std::string_view value) {
  std::vector<std::string>& more = impl_->more_choices[std::string(key)];
  if (std::find(more.begin(), more.end(), value) == more.end()) more.emplace_back(value);
  if (std::find(impl_->asked.begin(), impl_->asked.end(), key) == impl_->asked.end()) impl_->asked.emplace_back(key);
  const TomlNode* node = impl_->get(key);
  return node && node->kind == Kind::text && node->text == value;
}

// A table within one of [[several]] is best written in a line: `create = { size = "20G" }`, with what was given in its place.
std::string TableReader::Impl::in_braces(std::string_view key, const TomlNode& given,
                                         const std::function<void(TableReader&)>& read) const {
  std::vector<KeyInfo> inside;
  Problems ignored;
  TableReader table = make(Impl{document, &ignored, &inside, known, nullptr, "", "", {}, {}, {}});
  read(table);
  if (inside.empty()) return fmt::format("write {} = {{ KEY = VALUE }}", key);
  const KeyInfo& first = inside.front();
  const bool fits = given.kind == Kind::text && topology::parse_bytes(given.text);
  const std::string value = first.type == "size"          ? fmt::format("\"{}\"", fits ? given.text : "20G")
                            : given.kind == Kind::integer ? std::to_string(given.number)
                                                          : "1000";
  return fmt::format("write {} = {{ {} = {} }}", key, first.path, value);
}

void TableReader::table(std::string_view key, const std::function<void(TableReader&)>& read) {
  const TomlNode* node = impl_->note(key, {.type = "table"});
  if (node && node->kind != Kind::table) {
    const bool several = node->of_tables;
    problem(key,
            several ? fmt::format("[[{0}]] makes a list of tables; wanted the single table [{0}]", key)
                    : fmt::format("{}; wanted a table", found(*node)),
            several ? fmt::format("write [{}] with single brackets, once", key)
            : impl_->pattern.find("[]") != std::string::npos
                ? impl_->in_braces(key, *node, read)
                : fmt::format("start a line with [{}] and put its keys below", key));
    return;
  }
  TableReader inner = impl_->inner(node, std::string(key), std::string(key));
  read(inner);
  inner.finish();
}

void TableReader::tables(std::string_view key, const std::function<void(TableReader&)>& read) {
  const TomlNode* node = impl_->note(key, {.type = "tables"});
  const auto read_one = [&](const TomlNode* item, const std::string& name) {
    TableReader inner = impl_->inner(item, name, fmt::format("{}[]", key));
    read(inner);
    inner.finish();
  };
  if (impl_->keys) return read_one(nullptr, fmt::format("{}[]", key));
  if (!node || (node->kind == Kind::list && node->children.empty())) return;
  if (!node->of_tables) {
    problem(key,
            node->kind == Kind::table
                ? fmt::format("[{0}] is a single table; wanted [[{0}]], as there may be several", key)
                : fmt::format("{}; wanted tables", found(*node)),
            fmt::format("write [[{}]] with double brackets", key));
    return;
  }
  for (std::size_t i = 0; i < node->children.size(); ++i) read_one(&node->children[i], fmt::format("{}[{}]", key, i));
}

void TableReader::problem(std::string_view key, std::string what, std::string help) {
  impl_->add(key, std::move(what), std::move(help));
}

std::string TableReader::full_key(std::string_view key) const { return Impl::join(impl_->path, key); }

}  // namespace launcher::text
