// See argv_words.hpp: a shell's text as commands.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "launcher/import/argv_words.hpp"

namespace launcher::inline import {

namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

constexpr std::string_view command_ends = "\n;|&()", blanks = " \t\r";

// "NAME=", "NAME+=" at the word's start: what stands behind it is not split.
std::size_t assignment(std::string_view word) {
  std::size_t at = 0;
  while (at < word.size() && is_name(word[at])) ++at;
  if (at == 0 || std::isdigit(static_cast<unsigned char>(word[0])) != 0) return word.npos;
  const std::size_t equals = word.substr(at).starts_with("+=") ? at + 1 : at;
  return equals < word.size() && word[equals] == '=' ? equals : word.npos;
}

// Commands, one after the other, with the variables that were set before them.
class Shell {
 public:
  explicit Shell(std::string_view text) : text_(text) {}

  // The next command's words; nullopt: there is none.
  std::optional<std::vector<ShellWord>> next() {
    std::vector<ShellWord> words;
    while (at_ < text_.size() && total_ < most_argv) {
      skip_blanks();
      if (at_ >= text_.size()) break;
      if (redirects()) continue;
      if (command_ends.find(peek()) != command_ends.npos) {
        take();
        if (!words.empty()) return words;
        continue;
      }
      std::vector<ShellWord> some = word();
      if (some.size() == 1 && (peek() == '>' || peek() == '<') &&
          some[0].text.find_first_not_of("0123456789") == std::string::npos)
        continue;  // "2" of "2>&1"
      if (words.empty() && some.size() == 1 && assigns(some[0])) continue;
      for (ShellWord& one : some) words.push_back(std::move(one));
    }
    return words.empty() ? std::nullopt : std::optional(words);
  }
  bool unclosed() const { return unclosed_; }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  char take() {
    const char c = text_[at_++];
    if (c == '\n') ++line_;
    return c;
  }
  void close() { at_ < text_.size() ? void(take()) : void(unclosed_ = true); }

  void skip_blanks() {
    while (at_ < text_.size()) {
      if (blanks.find(peek()) != blanks.npos)
        take();
      else if (peek() == '\\' && peek(1) == '\n')
        take(), take();
      else if (peek() == '\\' && peek(1) == '\r' && peek(2) == '\n')
        take(), take(), take();
      else if (peek() == '#')
        while (at_ < text_.size() && peek() != '\n') take();
      else
        return;
    }
  }

  // ">file", "2>&1": no words of the command.
  bool redirects() {
    if (peek() != '>' && peek() != '<') return false;
    while (peek() == '>' || peek() == '<' || peek() == '&') take();
    skip_blanks();
    if (at_ < text_.size() && command_ends.find(peek()) == command_ends.npos) word();
    return true;
  }

  // A word of the text, which a variable may make none or several.
  std::vector<ShellWord> word() {
    std::vector<ShellWord> all{{"", line_, ""}};
    if (peek() == '{' && peek(1) == '"') {
      json(all.front().text);
      return all;
    }
    bool quoted = false;  // "" is a word, an empty $x is none
    while (at_ < text_.size()) {
      const char c = peek();
      if (blanks.find(c) != blanks.npos || c == '>' || c == '<') break;
      if (c == '(' && all.size() == 1 && assignment(all[0].text) + 1 == all[0].text.size()) {
        array(all[0].text);
        return {};
      }
      if (command_ends.find(c) != command_ends.npos) break;
      if (c == '\\') {
        take();
        if (peek() == '\n')
          take();
        else if (at_ < text_.size())
          all.back().text += take();
      } else if (c == '\'') {
        take();
        quoted = true;
        while (at_ < text_.size() && peek() != '\'') all.back().text += take();
        close();
      } else if (c == '"') {
        take();
        quoted = true;
        double_quoted(all);
      } else if (c == '$' || c == '`') {
        expansion(all, assignment(all[0].text) != std::string::npos);
      } else {
        all.back().text += take();
      }
    }
    if (!quoted && all.back().text.empty()) all.pop_back();
    return all;
  }

  // What `ps` and /proc show of a call: no shell would leave the quotes there. Up to the brace that closes it.
  void json(std::string& into) {
    bool text = false;
    for (int depth = 0; at_ < text_.size();) {
      const char c = take();
      into += c;
      if (text && c == '\\' && at_ < text_.size())
        into += take();
      else if (c == '"')
        text = !text;
      else if (!text && (c == '{' || c == '['))
        ++depth;
      else if (!text && (c == '}' || c == ']') && --depth == 0)
        return;
    }
    unclosed_ = true;
  }

  void double_quoted(std::vector<ShellWord>& all) {
    while (at_ < text_.size() && peek() != '"') {
      if (peek() == '\\' && (peek(1) == '"' || peek(1) == '\\' || peek(1) == '$' || peek(1) == '`')) {
        take();
        all.back().text += take();
      } else if (peek() == '\\' && peek(1) == '\n') {
        take();
        take();
      } else if (peek() == '$' || peek() == '`') {
        expansion(all, true);
      } else {
        all.back().text += take();
      }
    }
    close();
  }

  // The name behind a '$', with what stands with it in braces; "": only a shell knows.
  std::string variable() {
    std::string name;
    if (text_[at_ - 1] == '`') {
      while (at_ < text_.size() && peek() != '`') take();
      close();
    } else if (peek() == '(') {
      for (int depth = 0; at_ < text_.size();) {
        const char c = take();
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (depth == 0) break;
      }
    } else if (peek() == '{') {
      take();
      while (at_ < text_.size() && peek() != '}') name += take();
      close();
    } else if (is_name(peek())) {
      while (at_ < text_.size() && is_name(peek())) name += take();
    } else if (at_ < text_.size()) {
      take();  // "$@", "$?"
    }
    return name;
  }

  void expansion(std::vector<ShellWord>& all, bool whole) {
    const std::size_t begin = at_;
    take();
    if (text_[begin] == '$' && std::string_view("({@*#?$!-").find(peek()) == std::string_view::npos &&
        !is_name(peek())) {
      all.back().text += '$';
      return;
    }
    std::string name = variable();
    const bool each = name.ends_with("[@]"), listed = each || name.ends_with("[*]");
    if (listed) name.resize(name.size() - 3);
    const auto found = variables_.find(name);
    if (name.empty() || found == variables_.end()) {
      const std::string_view shown = text_.substr(begin, at_ - begin);
      all.back().text += shown;
      if (all.back().unknown.empty()) all.back().unknown = shown;
      return;
    }
    for (std::size_t i = 0; i < (listed ? found->second.size() : std::min<std::size_t>(found->second.size(), 1)); ++i) {
      if (i > 0) each ? void(all.push_back({"", line_, ""})) : void(all.back().text += ' ');
      whole ? add(all, found->second[i]) : split(all, found->second[i]);
    }
  }

  void add(std::vector<ShellWord>& all, const std::string& value) {
    total_ += value.size() + 1;  // a variable of itself could grow without end
    if (total_ < most_argv) all.back().text += value;
  }
  void split(std::vector<ShellWord>& all, const std::string& value) {
    for (const char c : value)
      if (c != ' ' && c != '\t' && c != '\n')
        add(all, std::string(1, c));
      else if (!all.back().text.empty())
        all.push_back({"", line_, ""});
  }

  // NAME=(...), NAME+=(...)
  void array(const std::string& head) {
    take();
    const bool more = head.ends_with("+=");
    std::vector<std::string> values;
    bool known = true;
    while (at_ < text_.size() && peek() != ')') {
      skip_blanks();
      if (peek() == ')' || at_ >= text_.size()) break;
      if (command_ends.find(peek()) != command_ends.npos || peek() == '>' || peek() == '<') {
        take();
        continue;
      }
      for (ShellWord& one : word()) {
        known = known && one.unknown.empty();
        values.push_back(std::move(one.text));
      }
    }
    close();
    std::vector<std::string>& into = variables_[head.substr(0, head.size() - (more ? 2 : 1))];
    if (!more) into.clear();
    into.insert(into.end(), values.begin(), values.end());
  }

  // NAME=value, before a command or alone
  bool assigns(const ShellWord& word) {
    const std::size_t equals = assignment(word.text);
    if (equals == word.text.npos) return false;
    const bool more = word.text[equals - 1] == '+';
    const std::string name = word.text.substr(0, equals - (more ? 1 : 0)), value = word.text.substr(equals + 1);
    if (!word.unknown.empty()) {
      variables_.erase(name);
    } else if (more && !variables_[name].empty()) {
      variables_[name].front() += value;
    } else {
      variables_[name] = {value};
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0, total_ = 0;
  unsigned line_ = 1;
  bool unclosed_ = false;
  std::map<std::string, std::vector<std::string>, std::less<>> variables_;
};

}  // namespace

ShellText read_shell(std::string_view text) {
  ShellText all;
  Shell shell(text);
  while (auto words = shell.next()) all.commands.push_back(std::move(*words));
  all.unclosed = shell.unclosed();
  return all;
}

}  // namespace launcher::import
