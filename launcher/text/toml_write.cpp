// A merged document written down again: one text that reads as the same values, wherever it is read.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "launcher/text/toml_node.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline text {

namespace {

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

std::string key_text(std::string_view name) {
  const bool bare = !name.empty() && std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  });
  return bare ? std::string(name) : toml_text(name);
}

class TomlWriter {
 public:
  TomlWriter(const TomlDocument& document, const std::vector<KeyInfo>& keys) : document_(document) {
    for (const KeyInfo& key : keys)
      if (key.is_path) paths_[key.path].insert(key.words.begin(), key.words.end());
  }

  // path: of the node ("disk[0].path"); pattern: of its key ("disk[].path")
  std::string value(const TomlNode& node, const std::string& path, const std::string& pattern) const {
    switch (node.kind) {
      case Kind::text:
        return toml_text(is_relative(node.text, pattern)
                             ? (document_.directory_of(path) / node.text).lexically_normal().string()
                             : node.text);
      case Kind::integer:
        return std::to_string(node.number);
      case Kind::boolean:
        return node.flag ? "true" : "false";
      case Kind::list:
        return list(node, path, pattern);
      case Kind::table:
        return inner_table(node, path, pattern);
      case Kind::real:
      case Kind::date:
        break;  // no key has such a value
    }
    return toml_text(node.text);
  }

  std::string whole(const TomlNode& root) const {
    std::string head, tables;
    for (const TomlNode& child : root.children) {
      if (child.name == "include") continue;  // is merged
      const std::string name = key_text(child.name);
      if (child.kind == Kind::table) {
        tables += fmt::format("\n[{}]\n{}", name, members(child, child.name, child.name));
      } else if (child.of_tables) {
        for (std::size_t i = 0; i < child.children.size(); ++i)
          tables += fmt::format("\n[[{}]]\n{}", name,
                                members(child.children[i], fmt::format("{}[{}]", child.name, i), child.name + "[]"));
      } else {
        head += fmt::format("{} = {}\n", name, value(child, child.name, child.name));
      }
    }
    return head + tables;
  }

  void leaves(const TomlNode& node, const std::string& path, const std::string& pattern,
              std::map<std::string, std::string>& found) const {
    if (node.kind == Kind::table) {
      for (const TomlNode& child : node.children)
        if (!path.empty() || child.name != "include")
          leaves(child, path.empty() ? child.name : path + "." + child.name,
                 pattern.empty() ? child.name : pattern + "." + child.name, found);
    } else if (node.of_tables) {
      for (std::size_t i = 0; i < node.children.size(); ++i)
        leaves(node.children[i], fmt::format("{}[{}]", path, i), pattern + "[]", found);
    } else {
      found[path] = value(node, path, pattern);
    }
  }

 private:
  bool is_relative(const std::string& text, const std::string& pattern) const {
    const auto words = paths_.find(pattern);
    return words != paths_.end() && !words->second.contains(text) && !text.empty() &&
           !std::filesystem::path(text).is_absolute();
  }

  std::string members(const TomlNode& table, const std::string& path, const std::string& pattern) const {
    std::string out;
    for (const TomlNode& child : table.children)
      out += fmt::format("{} = {}\n", key_text(child.name),
                         value(child, path + "." + child.name, pattern + "." + child.name));
    return out;
  }

  std::string list(const TomlNode& node, const std::string& path, const std::string& pattern) const {
    std::string out;
    for (std::size_t i = 0; i < node.children.size(); ++i)
      out += (i == 0 ? "" : ", ") + value(node.children[i], fmt::format("{}[{}]", path, i), pattern + "[]");
    return "[" + out + "]";
  }

  std::string inner_table(const TomlNode& node, const std::string& path, const std::string& pattern) const {
    std::string out;
    for (const TomlNode& child : node.children)
      out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", key_text(child.name),
                         value(child, path + "." + child.name, pattern + "." + child.name));
    return out.empty() ? "{}" : "{ " + out + " }";
  }

  const TomlDocument& document_;
  std::map<std::string, std::set<std::string>> paths_;  // with the words that stand for none
};

}  // namespace

std::string TomlDocument::merged(const std::vector<KeyInfo>& keys) const {
  return TomlWriter(*this, keys).whole(impl_->root);
}

std::map<std::string, std::string> TomlDocument::values(const std::vector<KeyInfo>& keys) const {
  std::map<std::string, std::string> found;
  TomlWriter(*this, keys).leaves(impl_->root, "", "", found);
  return found;
}

}  // namespace launcher::text
