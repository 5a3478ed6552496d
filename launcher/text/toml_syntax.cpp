// Why a text is no TOML, in words that help. The rule: what toml++ says is the last resort; the line itself mostly
// shows which of the common slips it is.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/text/printable.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

bool is_of_dotted_key(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.';
}

// First of `wanted` that is outside of quotes; npos if there is none.
std::size_t find_unquoted(std::string_view text, char wanted) {
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quote) {
      if (quote == '"' && text[i] == '\\')
        ++i;
      else if (text[i] == quote)
        quote = 0;
    } else if (text[i] == wanted) {
      return i;
    } else if (text[i] == '"' || text[i] == '\'') {
      quote = text[i];
    }
  }
  return std::string_view::npos;
}

std::string_view without_comment(std::string_view text) { return text.substr(0, find_unquoted(text, '#')); }

// The line an error is on, taken apart; all views point into the line.
struct Line {
  const std::vector<std::string>& all;
  unsigned number;
  std::string_view text, code;  // whole; without comment and surrounding space
  std::string_view key, value;  // around the first '=', trimmed; both empty if there is none
  bool has_equals;

  TomlSpan span(std::string_view part) const {
    const auto column = [&](const char* at) {
      return 1 + static_cast<unsigned>(count_code_points(text.substr(0, static_cast<std::size_t>(at - text.data()))));
    };
    return {number, column(part.data()), number, column(part.data() + part.size())};
  }
};

Line take_apart(const std::vector<std::string>& lines, unsigned number) {
  const std::string_view text = lines[number - 1];
  const std::string_view code = trimmed(without_comment(text));
  const std::size_t equals = find_unquoted(code, '=');
  const bool has = equals != std::string_view::npos;
  return {lines,
          number,
          text,
          code,
          has ? trimmed(code.substr(0, equals)) : code.substr(0, 0),
          has ? trimmed(code.substr(equals + 1)) : code.substr(0, 0),
          has};
}

TomlSyntaxError at(TomlSpan span, std::string what, std::string help) {
  return {{"", "not TOML: " + std::move(what), std::move(help)}, span};
}

// Line on which `same` says it stood before; 0 if none.
unsigned earlier_line(const Line& line, const auto& same, bool within_table) {
  for (unsigned number = line.number - 1; number > 0; --number) {
    const Line earlier = take_apart(line.all, number);
    if (same(earlier)) return number;
    if (within_table && earlier.code.starts_with('[')) return 0;
  }
  return 0;
}

std::string on_line(unsigned number) { return number ? fmt::format(" on line {}", number) : std::string(" above"); }

TomlSyntaxError explain_header(const Line& line, std::string_view said) {
  std::string_view name = line.code;
  while (name.starts_with('[')) name.remove_prefix(1);
  while (name.ends_with(']')) name.remove_suffix(1);
  name = trimmed(name);
  const bool of_tables = line.code.starts_with("[[");
  const std::string named = printable(name),
                    right = of_tables ? fmt::format("[[{}]]", named) : fmt::format("[{}]", named);
  const TomlSpan span = line.span(line.code);
  if (said.find("cannot redefine") != said.npos) {
    const auto single = fmt::format("[{}]", name), list = fmt::format("[[{}]]", name);
    const unsigned first = earlier_line(
        line, [&](const Line& l) { return l.code == single || l.code == list; }, false);
    if (first && of_tables != take_apart(line.all, first).code.starts_with("[["))
      return at(span,
                fmt::format("{} here, but {}{}; wanted the same brackets everywhere", right, of_tables ? single : list,
                            on_line(first)),
                fmt::format("write [[{0}]] in all places if there may be several, [{0}] if there is one", named));
    return at(span, fmt::format("a second {}, the first is{}; wanted one", right, on_line(first)),
              "move these keys to the first one");
  }
  if (name.empty())
    return at(span, "a header without a name; wanted one such as [cpu]", "put the table's name between the brackets");
  if (std::all_of(name.begin(), name.end(), is_of_dotted_key))
    return at(
        span,
        fmt::format("found \"{}\"; wanted a header in matching brackets, alone on its line", printable(line.code)),
        fmt::format("write {}", right));
  return at(span,
            fmt::format("found {}; wanted a header of letters, digits, '-' and '_' in brackets, other names in quotes",
                        shown(line.code)),
            "for example [cpu] or [[disk]]");
}

TomlSyntaxError explain_word(const Line& line) {
  const std::string key = printable(line.key), value = printable(line.value);
  std::string word(line.value);
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const TomlSpan span = line.span(line.value);
  for (const auto& [spelling, meaning] : {std::pair("true", "true"),
                                          {"yes", "true"},
                                          {"on", "true"},
                                          {"false", "false"},
                                          {"no", "false"},
                                          {"off", "false"}})
    if (word == spelling)
      return at(span, fmt::format("found {}; wanted true or false, or a string in quotes", value),
                fmt::format("write {} = {}, or {} = \"{}\"", key, meaning, key, value));
  if (!word.empty() &&
      std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c) || c == '_'; })) {
    if (word.size() > 1 && word[0] == '0')
      return at(
          span, fmt::format("{} starts with a zero; wanted a number without leading zeros", value),
          fmt::format("write {} = {}", key, value.substr(std::min(word.find_first_not_of('0'), word.size() - 1))));
    return at(span, fmt::format("found {}; wanted a whole number below 2^63", value), "write a smaller number");
  }
  return at(span, fmt::format("found {} without quotes; wanted a string, a number, true or false", value),
            fmt::format("strings need quotes: {} = \"{}\"", key, value));
}

TomlSyntaxError explain_string(const Line& line, std::string_view said) {
  const char quote = line.value[0];
  std::size_t close = std::string_view::npos;
  for (std::size_t i = 1; i < line.value.size() && close == std::string_view::npos; ++i) {
    if (quote == '"' && line.value[i] == '\\')
      ++i;
    else if (line.value[i] == quote)
      close = i;
  }
  const TomlSpan span = line.span(line.value);
  const bool backslash = quote == '"' && line.value.find('\\') != line.value.npos;
  if (close == std::string_view::npos)
    return at(span, fmt::format("the string is not closed; wanted {} at its end", quote),
              backslash
                  ? std::string("a \\\" is a quote inside the string; in single quotes backslashes are plain: 'a\\'")
                  : fmt::format("add the missing {}", quote));
  if (backslash && (said.find("escape sequence") != said.npos || said.find("unicode scalar") != said.npos))
    return at(span,
              "found a backslash that starts no known escape; wanted \\\\, \\\", \\n, \\t, \\u.... or no backslash",
              "in single quotes backslashes are plain: 'a\\b'");
  const std::string_view rest = trimmed(line.value.substr(close + 1));
  if (!rest.empty())
    return at(line.span(rest), fmt::format("found {} after the value; wanted the end of the line", shown(rest)),
              "one key per line; a quote inside a string is written \\\", and a comment starts with #");
  return at(span, fmt::format("this string: {}", printable(said)),
            "control characters are written as escapes: \\n, \\t, \\u001b");
}

std::optional<TomlSyntaxError> explain_value(const Line& line, std::string_view said) {
  const std::string key = printable(line.key);
  if (line.value.empty())
    return at(line.span(line.code), fmt::format("{} has no value; wanted one after the '='", key),
              fmt::format("write {} = \"...\", or remove the line", key));
  const char first = line.value[0];
  if (said.find("cannot redefine") != said.npos) {
    const unsigned before = earlier_line(
        line, [&](const Line& l) { return l.has_equals && l.key == line.key; }, true);
    return at(line.span(line.key), fmt::format("{} has a value already,{}; wanted one", key, on_line(before)),
              "keep one of the two");
  }
  if (first == '"' || first == '\'') return explain_string(line, said);
  if (first == '[' || first == '{') {
    const bool list = first == '[';
    return at(line.span(line.value),
              fmt::format("found a {} with a mistake: {}; wanted the form {}", list ? "list" : "table in braces",
                          printable(said), list ? "[a, b, c]" : "{ a = 1, b = 2 }"),
              "separate by commas, put strings in quotes, close the bracket");
  }
  return explain_word(line);
}

}  // namespace

TomlSyntaxError explain_syntax_error(const std::vector<std::string>& lines, unsigned number, unsigned column,
                                     std::string_view said) {
  // toml++ writes "Error while parsing X: expected Y, saw Z"
  if (const std::size_t colon = said.find(": "); said.starts_with("Error while parsing ") && colon != said.npos)
    said.remove_prefix(colon + 2);
  const bool at_end = said.find("end-of-file") != said.npos;
  number = std::min(number, static_cast<unsigned>(lines.size()));
  while (number > 1 && at_end && trimmed(lines[number - 1]).empty()) --number;
  if (number == 0 || number > lines.size())
    return at({}, printable(said) + "; wanted key = value, and headers such as [cpu]",
              "see https://toml.io for the syntax");
  // An unclosed string is noticed at the line's end, which is the next line's start.
  if (number > 1 && column <= 1 && said.find("string") != said.npos) --number;
  const Line line = take_apart(lines, number);
  std::optional<TomlSyntaxError> explained;
  if (line.code.starts_with('[') && !line.has_equals)
    explained = explain_header(line, said);
  else if (line.has_equals && !line.key.empty() && std::all_of(line.key.begin(), line.key.end(), is_of_dotted_key))
    explained = explain_value(line, said);
  if (explained) return *explained;
  if (!line.code.empty() && !line.has_equals) {
    const std::size_t colon = line.code.find(':');
    const std::string_view key = trimmed(line.code.substr(0, colon));
    if (colon != std::string_view::npos && !key.empty() && std::all_of(key.begin(), key.end(), is_of_dotted_key)) {
      const std::string_view value = trimmed(line.code.substr(colon + 1));
      const bool plain =
          value.starts_with('"') || value.starts_with('\'') || is_index(value) || value == "true" || value == "false";
      return at(line.span(line.code.substr(colon, 1)), "found ':' after a key; wanted '='",
                value.empty() ? fmt::format("write [{}], and its keys below", key)
                              : fmt::format("write {0} = {2}{1}{2}", key, printable(value), plain ? "" : "\""));
    }
    const std::string_view last = line.code.substr(line.code.size() - 1);
    if (at_end)
      return at(line.span(last), "the file ends in the middle of something; wanted its closing quote or bracket",
                "look above for a \", ''', [ or { that is never closed");
    return at(line.span(line.code),
              fmt::format("found {}; wanted key = value, or a header such as [cpu]", shown(line.code)),
              "a comment starts with #, a list that goes over several lines has a comma after each item");
  }
  const unsigned width = static_cast<unsigned>(count_code_points(line.text));
  const unsigned from = std::clamp(column, 1u, std::max(width, 1u));
  return at({number, from, number, from + 1}, printable(said) + "; wanted key = value, or a header such as [cpu]",
            "strings need quotes, and so do keys with other characters than letters, digits, '-' and '_'");
}

}  // namespace launcher::text
