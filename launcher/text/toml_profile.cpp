#include "launcher/text/toml_profile.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>

#include "launcher/text/toml_loader.hpp"

namespace launcher::inline text {

// Takes from `defaults` what `into` has not.
void TomlLoader::fill(TomlNode& into, const TomlNode& defaults, const std::string& key) {
  for (const TomlNode& one : defaults.children) {
    const std::string full = key.empty() ? one.name : key + "." + one.name;
    TomlNode* mine = into.member(one.name);
    if (mine != nullptr && mine->kind == Kind::table && one.kind == Kind::table) {
      fill(*mine, one, full);
      continue;
    }
    if (mine == nullptr) into.add_member(one);
    if (one.kind != Kind::table) impl->from_profile.push_back({full, mine == nullptr});
    if (mine == nullptr && one.kind == Kind::table)
      for (const TomlNode& inner : one.children) impl->from_profile.push_back({full + "." + inner.name, true});
  }
}

void TomlLoader::apply_profile(const std::vector<Profile>& profiles) {
  const TomlNode* named = impl->root.member("profile");
  if (named == nullptr || named->kind != Kind::text) return;  // a wrong kind is the reader's to tell
  const auto profile = std::ranges::find(profiles, named->text, &Profile::name);
  if (profile == profiles.end()) return;  // likewise
  const unsigned source = static_cast<unsigned>(impl->sources.size());
  impl->sources.push_back({fmt::format("profile {}", profile->name), "", "/", split_lines(profile->text), {}});
  const std::expected<TomlNode, TomlSyntaxError> parsed = parse_toml(profile->text, source);
  if (!parsed) throw std::logic_error(fmt::format("profile {} is no TOML", profile->name));
  TomlNode defaults = *parsed;
  if (const TomlNode* each = defaults.member("each")) {
    for (const TomlNode& kind : each->children) {
      TomlNode* items = impl->root.member(kind.name);
      if (items == nullptr) continue;
      if (items->kind == Kind::table) fill(*items, kind, kind.name);  // of a single one that is there
      if (!items->of_tables) continue;
      for (std::size_t i = 0; i < items->children.size(); ++i)
        fill(items->children[i], kind, fmt::format("{}[{}]", kind.name, i));
    }
  }
  std::erase_if(defaults.children, [](const TomlNode& child) { return child.name == "each"; });
  fill(impl->root, defaults, "");
}

std::vector<std::string> profile_keys(const TomlDocument& document) {
  std::vector<std::string> keys;
  for (const auto& [key, used] : document.impl().from_profile)
    if (used) keys.push_back(key);
  return keys;
}

std::string TomlDocument::profile_story() const {
  const TomlNode* named = impl_->root.member("profile");
  if (named == nullptr || impl_->from_profile.empty()) return "";
  std::vector<std::string> set, kept;
  for (const auto& [key, used] : impl_->from_profile) (used ? set : kept).push_back(key);
  std::string story = fmt::format("profile \"{}\" sets {}", named->text, fmt::join(set, ", "));
  if (!kept.empty()) story += fmt::format("; the spec's own value is kept for {}", fmt::join(kept, ", "));
  return story;
}

}  // namespace launcher::text
