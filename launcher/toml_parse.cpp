// TOML text -> TomlNode. The rules: the only file with <toml++/toml.h>; arbitrary bytes end in a value or in one
// problem with a place, never in a crash.
#include <fmt/format.h>

#include <algorithm>

// Compiled in rather than linked: vmrun depends on one library less, and the Debian build of the library has exceptions.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "launcher/printable.hpp"
#include "launcher/toml_node.hpp"

namespace launcher {

namespace {

// toml++ builds and frees nested tables by recursion; each level costs a dot in a dotted key or header.
constexpr std::ptrdiff_t most_dots = 4000;
constexpr std::size_t longest_text = 1u << 20;

TomlSpan span_of(const toml::source_region& region) {
  return {region.begin.line, region.begin.column, region.end.line, region.end.column};
}

TomlNode convert(const toml::node& from, unsigned source) {
  TomlNode node;
  node.value_place = {source, span_of(from.source())};
  if (const toml::table* table = from.as_table()) {
    node.kind = TomlNode::Kind::table;
    for (const auto& [key, value] : *table) {
      TomlNode child = convert(value, source);
      child.name = key.str();
      child.name_place = {source, span_of(key.source())};
      node.children.push_back(std::move(child));
    }
  } else if (const toml::array* list = from.as_array()) {
    node.kind = TomlNode::Kind::list;
    node.of_tables = list->is_array_of_tables();
    for (const toml::node& item : *list) node.children.push_back(convert(item, source));
  } else if (const auto* text = from.as_string()) {
    node.kind = TomlNode::Kind::text;
    node.text = text->get();
  } else if (const auto* number = from.as_integer()) {
    node.kind = TomlNode::Kind::integer;
    node.number = number->get();
  } else if (const auto* flag = from.as_boolean()) {
    node.kind = TomlNode::Kind::boolean;
    node.flag = flag->get();
  } else {
    node.kind = from.is_floating_point() ? TomlNode::Kind::real : TomlNode::Kind::date;
  }
  return node;
}

// The place of byte `at` of the text, one code point wide.
TomlSpan place_of_byte(std::string_view text, std::size_t at) {
  const std::string_view before = text.substr(0, at);
  const unsigned line = 1 + static_cast<unsigned>(std::count(before.begin(), before.end(), '\n'));
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  const unsigned column = 1 + static_cast<unsigned>(count_code_points(before.substr(line_start)));
  return {line, column, line, column + 1};
}

}  // namespace

std::expected<TomlNode, TomlSyntaxError> parse_toml(std::string_view text, unsigned source) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.size() > longest_text)
    return std::unexpected(TomlSyntaxError{{"", fmt::format("{} bytes long; wanted at most {}", text.size(), longest_text),
                                            "is this the right file?"}, {}});
  if (const std::size_t bad = first_broken_utf8(text); bad != std::string_view::npos)
    return std::unexpected(TomlSyntaxError{
        {"", fmt::format("the byte 0x{:02x} is not valid UTF-8; wanted UTF-8 text, as TOML is", static_cast<unsigned char>(text[bad])),
         "save the file as UTF-8 (iconv -f latin1 -t utf8)"}, place_of_byte(text, bad)});
  if (std::count(text.begin(), text.end(), '.') > most_dots)
    return std::unexpected(TomlSyntaxError{{"", fmt::format("more than {} dots; wanted fewer: each may open a table inside a table", most_dots),
                                            "is this the right file?"}, {}});
  const toml::parse_result result = toml::parse(text);
  if (result) return convert(result.table(), source);
  const toml::parse_error& error = result.error();
  return std::unexpected(explain_syntax_error(split_lines(text), error.source().begin.line, error.source().begin.column, error.description()));
}

}  // namespace launcher
