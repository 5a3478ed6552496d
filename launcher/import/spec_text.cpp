// See spec_text.hpp.
#include "launcher/import/spec_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "launcher/text/printable.hpp"

namespace launcher::inline import {

namespace {

constexpr std::array table_order = {"",        "cpu",     "clock",   "hyperv", "schedule", "host",     "memory",
                                    "numa",    "disk",    "net",     "vsock",  "share",    "pci",      "usb",
                                    "cdrom",   "console", "serial",  "rng",    "tpm",      "watchdog", "agent",
                                    "balloon", "nvdimm",  "display", "smbios", "panic",    "boot"};

std::string kind_of(const std::string& handle) { return handle.substr(0, handle.find_first_of("[.")); }

// "disk[1].limit" -> "[disk.limit]", "disk[1]" -> "[[disk]]"
std::string header_of(const SpecText::Table& table) {
  const std::size_t open = table.name.find('['), close = table.name.find(']');
  if (open == table.name.npos) return fmt::format("[{}]", table.name);
  const std::string rest = table.name.substr(close + 1);
  return rest.empty() ? fmt::format("[[{}]]", kind_of(table.name)) : fmt::format("[{}{}]", kind_of(table.name), rest);
}

std::string line_of(const SpecText::Line& line) {
  const std::string text = fmt::format("{} = {}", line.key, line.value);
  return line.comment.empty() ? text + "\n" : fmt::format("{:<36}  # {}\n", text, printable(line.comment));
}

}  // namespace

std::string toml_text(std::string_view value) {
  std::string out = "\"";
  while (!value.empty()) {
    const CodePoint point = decode_utf8(value);
    const std::string_view bytes = value.substr(0, point.bytes);
    if (bytes == "\"" || bytes == "\\")
      out += "\\" + std::string(bytes);
    else if (!point.valid)
      out += "\\uFFFD";
    else if (is_control(point.value))
      out += fmt::format("\\U{:08X}", static_cast<std::uint32_t>(point.value));
    else
      out += bytes;
    value.remove_prefix(point.bytes);
  }
  return out + "\"";
}

std::string toml_texts(const std::vector<std::string>& values) {
  std::vector<std::string> quoted;
  std::ranges::transform(values, std::back_inserter(quoted), toml_text);
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string toml_size(std::uint64_t bytes) {
  constexpr std::pair<unsigned, char> units[] = {{40, 'T'}, {30, 'G'}, {20, 'M'}, {10, 'K'}};
  for (const auto& [shift, letter] : units)
    if (bytes != 0 && (bytes & ((std::uint64_t{1} << shift) - 1)) == 0)
      return fmt::format("\"{}{}\"", bytes >> shift, letter);
  return fmt::format("\"{}\"", bytes);
}

const SpecText::Line* SpecText::Table::find(std::string_view key) const {
  const auto found = std::ranges::find(lines, key, &Line::key);
  return found == lines.end() ? nullptr : &*found;
}

SpecText::Table& SpecText::at(const std::string& table) {
  const auto found = std::ranges::find(tables_, table, &Table::name);
  if (found != tables_.end()) return *found;
  return tables_.emplace_back(Table{table, false, {}});
}

void SpecText::touch(const std::string& table) { at(table); }

void SpecText::set(const std::string& table, const std::string& key, const std::string& toml,
                   const std::string& comment) {
  Table& into = at(table);
  const auto found = std::ranges::find(into.lines, key, &Line::key);
  if (found != into.lines.end())
    *found = {key, toml, comment};
  else
    into.lines.push_back({key, toml, comment});
}

std::size_t SpecText::count(const std::string& table) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      tables_, [&](const Table& one) { return one.name.starts_with(table + "[") && one.name.ends_with(']'); }));
}

std::string SpecText::add(const std::string& table) {
  const std::string handle = fmt::format("{}[{}]", table, count(table));
  at(handle).many = true;
  return handle;
}

const SpecText::Line* SpecText::find(const std::string& table, const std::string& key) const {
  const auto found = std::ranges::find(tables_, table, &Table::name);
  return found == tables_.end() ? nullptr : found->find(key);
}

void SpecText::remove(const std::string& table, const std::string& key) {
  std::erase_if(at(table).lines, [&](const Line& line) { return line.key == key; });
}

void SpecText::add_to_list(const std::string& table, const std::string& key, const std::string& value) {
  const Line* before = find(table, key);
  const std::string quoted = toml_text(value);
  if (before != nullptr && before->value.find(quoted) != std::string::npos) return;
  set(table, key,
      before == nullptr ? "[" + quoted + "]" : before->value.substr(0, before->value.size() - 1) + ", " + quoted + "]");
}

std::string SpecText::renamed(std::string words) const {
  if (moved_kind_.empty()) return words;
  for (std::size_t at = 0; (at = words.find(moved_kind_, at)) != words.npos;) {
    const std::size_t digits = at + moved_kind_.size();
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(words.data() + digits, words.data() + words.size(), number);
    const std::size_t length = static_cast<std::size_t>(end - words.data()) - digits;
    at = digits;
    if (error != std::errc{}) continue;
    words.replace(digits, length, std::to_string(number == moved_ ? 0 : number < moved_ ? number + 1 : number));
  }
  return words;
}

void SpecText::move_first(const std::string& handle) {
  moved_kind_ = kind_of(handle) + "[";
  std::from_chars(handle.data() + moved_kind_.size(), handle.data() + handle.size(), moved_);
  std::vector<Table> sorted{tables_.front()};
  for (const bool chosen : {true, false})
    for (std::size_t i = 1; i < tables_.size(); ++i)
      if (tables_[i].name.starts_with(handle) == chosen) sorted.push_back(tables_[i]);
  tables_ = std::move(sorted);
}

std::string SpecText::to_toml() const {
  std::string out;
  for (const std::string& line : comments_) out += "# " + printable(line) + "\n";
  for (const char* kind : table_order)
    for (const Table& table : tables_) {
      if (kind_of(table.name) != kind) continue;
      if (!table.name.empty()) out += (out.empty() ? "" : "\n") + header_of(table) + "\n";
      for (const Line& line : table.lines) out += line_of(line);
      if (table.name.empty() && !extra_.empty()) out += "extra_args = " + toml_texts(extra_) + "\n";
    }
  return out;
}

}  // namespace launcher::import
