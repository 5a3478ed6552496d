// A spec in the making, as TOML. The rule: values are quoted here, and nowhere else in this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline import {

std::string toml_text(std::string_view value);  // "a \"basic\" string"
std::string toml_texts(const std::vector<std::string>& values);
std::string toml_size(std::uint64_t bytes);  // "16G": the largest unit without a rest

class SpecText {
 public:
  struct Line {
    std::string key, value, comment;  // value: TOML
  };
  struct Table {
    std::string name;  // "" is the top
    bool many = false;
    std::vector<Line> lines;
    const Line* find(std::string_view key) const;
  };

  void set(const std::string& table, const std::string& key, const std::string& toml, const std::string& comment = {});
  void text(const std::string& table, const std::string& key, std::string_view value, const std::string& comment = {}) {
    set(table, key, toml_text(value), comment);
  }
  void flag(const std::string& table, const std::string& key, bool on, const std::string& comment = {}) {
    set(table, key, on ? "true" : "false", comment);
  }
  void number(const std::string& table, const std::string& key, std::uint64_t value, const std::string& comment = {}) {
    set(table, key, std::to_string(value), comment);
  }
  void touch(const std::string& table);               // it stands there, if empty: [balloon]
  std::string add(const std::string& table);          // another [[disk]]; its handle for set(): "disk[1]"
  std::size_t count(const std::string& table) const;  // of [[disk]]
  const Line* find(const std::string& table, const std::string& key) const;
  void remove(const std::string& table, const std::string& key);
  void comment(std::string_view line) { comments_.emplace_back(line); }  // at the file's head
  void extra(const std::string& argument) { extra_.push_back(argument); }
  void add_to_list(const std::string& table, const std::string& key, const std::string& value);
  void move_first(const std::string& handle);    // before the others of its kind, once; handles change
  std::string renamed(std::string words) const;  // what was told of them before, with the handles that they have now

  std::string to_toml() const;

 private:
  Table& at(const std::string& table);
  std::vector<Table> tables_{{}};  // a handle "disk[1]" is the name of a table of many until it is written
  std::vector<std::string> comments_, extra_;
  std::string moved_kind_;  // "disk[", and the number that is the first now
  std::size_t moved_ = 0;
};

}  // namespace launcher::import
