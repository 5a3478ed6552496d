// Keys that nobody asked for: what was likely meant, and where it belongs.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <tuple>

#include "launcher/text/printable.hpp"
#include "launcher/text/problem.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

namespace {

// A user's name as a step of a key path: odd ones are quoted, so that the path can be taken apart again.
std::string as_step(std::string_view name) {
  if (!name.empty() &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; }))
    return std::string(name);
  std::string step = "\"";
  for (char c : name) step += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
  return step + '"';
}

}  // namespace

// The other keys of that name.
std::vector<const KeyInfo*> TableReader::Impl::namesakes(std::string_view name) const {
  std::vector<const KeyInfo*> all;
  for (std::size_t i = 0; known && i < known->size(); ++i) {
    const std::string_view whole = (*known)[i].path;
    const std::size_t dot = whole.rfind('.');
    if (whole.substr(dot == whole.npos ? 0 : dot + 1) == name) all.push_back(&(*known)[i]);
  }
  return all;
}

namespace {

// "[cpu]" of "cpu.count", "[[net]]" of "net[].mac".
std::string home_of(const KeyInfo& info) {
  const std::size_t dot = info.path.rfind('.');
  if (dot == info.path.npos) return "the top of the file, above the first [table]";
  const std::string table = info.path.substr(0, dot);
  return table.ends_with("[]") ? "[[" + table.substr(0, table.size() - 2) + "]]" : "[" + table + "]";
}

}  // namespace

namespace {

// A value for what is a table elsewhere: it does not belong there. "1G" is likely this table's size.
bool is_size(const TomlNode& member) {
  return member.kind == Kind::text && !member.text.empty() &&
         std::isdigit(static_cast<unsigned char>(member.text[0])) != 0;
}

}  // namespace

// The sibling that was likely meant: by spelling, or because one name goes on where the other ends (page_size,
// network).
std::string TableReader::Impl::sibling_like(const std::string& name) const {
  if (const std::string near = closest(name, asked); !near.empty()) return near;
  for (const std::string& key : asked)
    if (std::min(key.size(), name.size()) >= 3 && (name.starts_with(key) || key.starts_with(name))) return key;
  return {};
}

void TableReader::Impl::report_unknown(const TomlNode& member) {
  const auto as_written = [this](const std::string& key) {
    return in_brackets.contains(key) ? in_brackets.find(key)->second : key;
  };
  std::vector<std::string> wanted, homes, meant;
  for (const std::string& key : asked) wanted.push_back(as_written(key));
  const bool value = member.kind != Kind::table && !member.of_tables;
  for (const KeyInfo* info : namesakes(member.name)) {
    const auto below = [&](const KeyInfo& other) { return other.path.starts_with(info->path + "."); };
    if (value && std::ranges::any_of(*known, below)) continue;  // a table there
    homes.push_back(home_of(*info)), meant.push_back(info->path);
  }
  std::string help = "remove it, or use one of those keys";
  std::string near = sibling_like(member.name);
  if (near.empty() && is_size(member) && std::ranges::find(asked, "size") != asked.end()) near = "size";
  if (!homes.empty()) {
    help = fmt::format("it belongs to {}", listed(homes));
  } else if (!near.empty()) {
    help = fmt::format("did you mean {}?", in_brackets.contains(near) ? as_written(near) : "\"" + near + "\"");
    meant.push_back(join(path, near));
  }
  unknown->meant.insert(meant.begin(), meant.end());
  const std::string table = pattern.empty() ? "" : home_of({.path = pattern + "."});
  const bool is_table = member.kind == Kind::table || member.of_tables;
  const std::string name = is_table && pattern.empty()
                               ? fmt::format("{0}{1}{2}", member.of_tables ? "[[" : "[", printable(member.name),
                                             member.of_tables ? "]]" : "]")
                               : shown(member.name);
  const std::string what = !table.empty() ? fmt::format("{} has no key {}", table, name)
                                          : fmt::format("there is no {}{}", is_table ? "" : "key ", name);
  problems->push_back(
      {join(path, as_step(member.name)), fmt::format("{}; wanted {}", what, listed(wanted)), help, true});
}

namespace {

// What is "missing" only because its name is misspelled or misplaced need not be said twice.
void drop_missing(Problems& problems, const UnknownKeys& unknown) {
  std::erase_if(problems, [&](const Problem& problem) {
    if (!problem.what.starts_with("is missing;")) return false;
    std::string_view key = problem.key;
    while (!unknown.meant.contains(key)) {
      const std::size_t dot = key.rfind('.');
      if (dot == key.npos) return false;
      key = key.substr(0, dot);
    }
    return true;
  });
}

}  // namespace

void TableReader::finish() {
  if (!impl_->node || impl_->keys) return;
  UnknownKeys& unknown = *impl_->unknown;
  std::vector<const TomlNode*> members;
  for (const TomlNode& member : impl_->node->children)
    if (std::find(impl_->asked.begin(), impl_->asked.end(), member.name) == impl_->asked.end())
      members.push_back(&member);
  const auto place = [](const TomlNode* node) {
    return std::tuple(node->name_place.source, node->name_place.span.line, node->name_place.span.column);
  };
  std::ranges::sort(members, {}, place);
  for (const TomlNode* member : members) {
    if (unknown.told < UnknownKeys::most_told) {
      ++unknown.told;
      impl_->report_unknown(*member);
    } else if (unknown.untold++ == 0) {
      unknown.first_untold = Impl::join(impl_->path, as_step(member->name));
    }
  }
  if (!impl_->path.empty()) return;
  drop_missing(*impl_->problems, unknown);
  if (unknown.untold > 0)
    impl_->problems->push_back(
        {unknown.first_untold,
         fmt::format("{} more keys are not known; wanted those that the others name", unknown.untold),
         "is this the right file?", true});
}

}  // namespace launcher::text
