// Inside of the TOML reader: a merged document as a tree of plain values, each knowing which text gave it. The rule:
// nobody but toml_*.cpp includes this.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/text/problem.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline text {

// Columns count code points from 1; end is one past the last. Line 0: nowhere.
struct TomlSpan {
  unsigned line = 0, column = 0, end_line = 0, end_column = 0;
};

struct TomlPlace {
  unsigned source = 0;  // index into Impl::sources
  TomlSpan span;
};

struct TomlNode {
  enum class Kind { text, integer, real, boolean, date, list, table };

  Kind kind = Kind::table;
  std::string name;                // of a table's member; a list's items have none
  std::string text;                // text
  std::int64_t number = 0;         // integer
  bool flag = false;               // boolean
  bool of_tables = false;          // list: written as [[name]]
  std::vector<TomlNode> children;  // list: its items; table: its members, by name
  TomlPlace value_place, name_place;

  const TomlNode* member(std::string_view key) const;
  TomlNode* member(std::string_view key);
  TomlNode& add_member(TomlNode child);  // precondition: there is none of its name
};
using Kind = TomlNode::Kind;

// A text that gave values: a file, or one --set.
struct TomlSource {
  std::string file;                 // as it was named; "" for a --set
  std::string origin;               // "--set cpu.count=4"; "" for a file
  std::filesystem::path directory;  // absolute; relative paths start here
  std::vector<std::string> lines;   // none where they are not to be shown
  std::optional<uid_t> reader;      // for whom it was read, where not for ourselves
};

struct TomlDocument::Impl {
  TomlNode root;
  std::vector<TomlSource> sources;
  std::vector<std::pair<std::string, bool>> from_profile;  // keys the profile has; true: nobody else said it
  std::vector<std::pair<Problem, TomlPlace>> broken;       // where the problems are that no key path leads to

  const TomlNode* find(std::string_view key) const;  // the node itself; nullptr if absent
};

// One step of a key path: "disk[0].path" and "disk.0.path" are {disk, 0, path}.
struct TomlStep {
  std::string name;  // also set for an index, as it was written
  std::optional<std::size_t> index;
  unsigned column = 1, end_column = 1;  // within the path
};
std::expected<std::vector<TomlStep>, std::string> split_key_path(std::string_view path);

struct TomlSyntaxError {
  Problem problem;
  TomlSpan span;
};
// The whole of a TOML text, without includes. `source` is what its nodes' places will say.
std::expected<TomlNode, TomlSyntaxError> parse_toml(std::string_view text, unsigned source);

// What toml++ says, in words that help: from the line it points at.
TomlSyntaxError explain_syntax_error(const std::vector<std::string>& lines, unsigned line, unsigned column,
                                     std::string_view said);

std::vector<std::string> split_lines(std::string_view text);
bool is_index(std::string_view text);

// For messages: "4 is a number", "\"x\" is a string", "a list" ...
std::string found(const TomlNode& node);
std::string shown(std::string_view text);                         // "text", made printable, long ones shortened
std::string listed(std::vector<std::string> parts);               // "a, b or c"
std::string listed_words(const std::vector<std::string>& words);  // the same, each in quotes
std::string in_quotes(const std::vector<std::string>& words);
std::string assign(std::string_view key, std::string_view value);  // "key = value"
std::string range_text(std::int64_t min, std::int64_t max);
bool is_auto(const TomlNode& node);

// What all readers of one document share.
struct UnknownKeys {
  static constexpr std::size_t most_told = 100;  // each costs a look at all keys there are, and nobody reads more
  std::size_t told = 0, untold = 0;
  std::string first_untold;
  std::set<std::string, std::less<>> meant;  // the keys that were likely meant: "missing" is then said already
};

struct TableReader::Impl {
  const TomlDocument* document;
  Problems* problems;
  std::vector<KeyInfo>* keys;         // describe mode when set
  const std::vector<KeyInfo>* known;  // may be null
  const TomlNode* node;               // the table; nullptr if there is none
  std::string path, pattern;          // "disk[0]", "disk[]"; "" for the whole document
  std::vector<std::string> asked;     // every key read, in order
  std::map<std::string, std::vector<std::string>, std::less<>> more_choices;  // from is_text()
  std::map<std::string, std::string, std::less<>> in_brackets;                // sub-tables: "cpu" -> "[cpu]"
  std::shared_ptr<UnknownKeys> unknown = std::make_shared<UnknownKeys>();

  static TableReader make(Impl impl) { return TableReader(std::make_unique<Impl>(std::move(impl))); }
  TableReader inner(const TomlNode* table, const std::string& name, const std::string& name_in_pattern) const;
  static std::string join(const std::string& path, std::string_view key);
  const TomlNode* get(std::string_view key) const { return node ? node->member(key) : nullptr; }
  void add(std::string_view key, std::string what, std::string help) {
    problems->push_back({join(path, key), std::move(what), std::move(help)});
  }
  const TomlNode* note(std::string_view key, KeyInfo info);
  std::string or_choices(std::string_view key) const;
  std::string in_braces(std::string_view key, const TomlNode& given,
                        const std::function<void(TableReader&)>& read) const;
  bool is_choice(std::string_view key, const TomlNode& value, std::string_view choice);
  void report_unknown(const TomlNode& member);
  std::vector<const KeyInfo*> namesakes(std::string_view name) const;
  std::string sibling_like(const std::string& name) const;
};

// Guesses for a help line, each "" (or nothing) where there is none: the choice, the flag, the size that somebody meant.
std::string meant(const TomlNode& node, const std::vector<std::string>& choices);
std::optional<bool> meant_flag(const TomlNode& node);
std::string size_meant(const std::string& text);

}  // namespace launcher::text
