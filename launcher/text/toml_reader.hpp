// Typed reads out of a TOML table, collecting problems instead of stopping at the first. The rules: a key nobody asked for
// is a problem with a did-you-mean; every key read is noted, so that the set of readable keys (for the schema and
// reference.toml) is this code and no second list. <toml++/toml.h> itself is known to toml_parse.cpp only.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/text/problem.hpp"
#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline text {

// What one readable key looks like: for the JSON schema, completion and the reference test.
struct KeyInfo {
  std::string path = {};                  // "cpu.count", "disk[].path"
  std::string type = {};                  // "string", "integer", "boolean", "size", "cpus", "list", "table", "tables"
  std::vector<std::string> choices = {};  // enumerated values, "auto" included
  bool or_auto = false;
  std::optional<std::int64_t> min = {}, max = {};  // of an integer, or of a size in bytes
  bool required = false;
  bool is_path = false;                 // of a file, directory, socket or device
  std::vector<std::string> words = {};  // of a text: what it may be instead ("uefi" in the place of a path)
  friend bool operator==(const KeyInfo&, const KeyInfo&) = default;
};

struct Position {
  std::string file;
  unsigned line = 0, column = 0;  // from 1, in code points; line 0: not in any file (a --set or a default)
  unsigned end_column = 0;        // one past the last code point, on the same line
  std::string origin;             // "--set cpu.count=4" when line is 0 and a --set gave it; column is then within it
  unsigned rank = 0;              // problems are shown by rank: the spec, its includes as they were read, the --sets
  friend bool operator==(const Position&, const Position&) = default;
};

// A named set of defaults: TOML, merged below the document.
struct Profile {
  std::string_view name;
  std::string_view text;  // what stands in [each.disk] is a default of every [[disk]], or of a table that is there
};

struct TomlErrors;

// A parsed document with its includes merged and overrides applied; keeps where every key stands.
class TomlDocument {
 public:
  // Includes: `include = ["base.toml"]`, relative to the including file. A later one wins over an earlier one, the
  // including file over all of them. Tables are merged key by key, scalars and plain arrays are replaced; of arrays of
  // tables ([[disk]]) the included ones come first. A file reached twice counts once, where it was first reached.
  // Root includes for a spec of somebody else only what that one may read.
  // Errors: unreadable file, TOML syntax (one problem per file), include cycles or more than 16 deep, bad --set.
  // overrides: "cpu.count=4", "disk.0.path='/x'"; the value is TOML, or a bare string when it is no TOML. An index one
  // past the end appends.
  // profiles: those that a key `profile` may name; they fill what nothing else says.
  static std::expected<TomlDocument, TomlErrors> load(const std::filesystem::path& file,
                                                      const std::vector<std::string>& overrides,
                                                      const std::vector<Profile>& profiles = {});
  static std::expected<TomlDocument, TomlErrors> parse(std::string_view text, const std::string& file_name,
                                                       const std::vector<std::string>& overrides = {},
                                                       const std::vector<Profile>& profiles = {});
  TomlDocument(TomlDocument&&) noexcept;
  TomlDocument& operator=(TomlDocument&&) noexcept;
  ~TomlDocument();

  Position position_of(std::string_view key) const;    // of the key's value; the nearest parent's if absent
  Position position_of(const Problem& problem) const;  // also of what is wrong with the text itself or with a --set
  // Nothing if there is none, or it is not to be shown: of an include that is not TOML, unless its name says that it should be.
  std::optional<std::string> source_line(const Position& position) const;
  // Where the key's relative paths start: the directory of the file that gave it; for a --set the current one.
  std::filesystem::path directory_of(std::string_view key) const;
  std::string file() const;  // the main file, as it was named
  // The document as one file that says the same: includes, overrides and profile merged, keys sorted, relative paths (of `keys`
  // that are paths) made absolute; and each of its values by its key's path.
  std::string merged(const std::vector<KeyInfo>& keys) const;
  std::map<std::string, std::string> values(const std::vector<KeyInfo>& keys) const;
  std::string profile_story() const;  // which keys the profile set, and which it did not; "" without one

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit TomlDocument(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Nothing could be read; the document knows only where these problems are.
struct TomlErrors {
  Problems problems;
  TomlDocument document;
};

// Reads one table. finish() reports unknown keys; every read_*() notes its key.
class TableReader {
 public:
  // keys: describe mode, every key read is appended there. known: every readable key, to say where an unknown one belongs.
  TableReader(const TomlDocument& document, Problems& problems, std::vector<KeyInfo>* keys = nullptr,
              const std::vector<KeyInfo>* known = nullptr);

  // Fallbacks are returned both when the key is absent and when it is wrong (then a problem was added).
  std::string text(std::string_view key, std::string fallback);
  std::string required_text(std::string_view key);
  std::string path(std::string_view key, bool required);  // made absolute against the giving file's directory
  bool flag(std::string_view key, bool fallback);
  std::optional<bool> flag_or_auto(std::string_view key);
  std::int64_t integer(std::string_view key, std::int64_t fallback, std::int64_t min, std::int64_t max,
                       bool required = false);
  std::optional<std::int64_t> integer_or_auto(std::string_view key, std::int64_t min, std::int64_t max);
  topology::Bytes size(std::string_view key, topology::Bytes fallback, topology::Bytes min, topology::Bytes max);
  topology::Bytes required_size(std::string_view key, topology::Bytes min, topology::Bytes max);
  std::optional<topology::Bytes> size_or_auto(std::string_view key, const std::vector<topology::Bytes>& allowed);
  std::optional<topology::CpuSet> cpus_or_auto(std::string_view key);          // "0-3" or [0, 1, 2, 3]
  std::optional<std::vector<unsigned>> numbers_or_auto(std::string_view key);  // order kept: [4, 6, 5] or "4-7"
  std::vector<std::string> texts(std::string_view key);                        // list of strings
  // One of `choices`; index of it. fallback is the index returned for absent or wrong.
  std::size_t choice(std::string_view key, const std::vector<std::string>& choices, std::size_t fallback);
  bool has(std::string_view key) const;
  // Present and exactly this string: one more choice for a key that the next read_*() of it need not know.
  bool is_text(std::string_view key, std::string_view value);

  // Sub-tables. When the reader only lists keys (describe mode) the callback runs once.
  void table(std::string_view key, const std::function<void(TableReader&)>& read);
  void tables(std::string_view key, const std::function<void(TableReader&)>& read);  // [[key]], in order

  void problem(std::string_view key, std::string what, std::string help);  // key is relative to this table
  std::string full_key(std::string_view key) const;
  void finish();

  struct Impl;

 private:
  explicit TableReader(std::unique_ptr<Impl> impl);
  friend struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace launcher::text
