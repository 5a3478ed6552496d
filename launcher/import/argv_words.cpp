// See argv_words.hpp.
#include "launcher/import/argv_words.hpp"

#include <fmt/format.h>

#include <cctype>
#include <map>
#include <optional>

#include "launcher/text/printable.hpp"

namespace launcher::inline import {

namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Commands, one after the other, with the variables that were set before them.
class Shell {
 public:
  explicit Shell(std::string_view text) : text_(text) {}

  // The next command's words; nullopt: there is none.
  std::optional<std::vector<ShellWord>> next() {
    std::vector<ShellWord> words;
    while (at_ < text_.size()) {
      skip_blanks();
      if (at_ >= text_.size()) break;
      if (redirects()) continue;
      if (ends_command()) {
        if (!words.empty()) return words;
        continue;
      }
      words.push_back(word());
      if (const std::string& last = words.back().text;
          (peek() == '>' || peek() == '<') && last.find_first_not_of("0123456789") == last.npos)
        words.pop_back();  // "2" of "2>&1"
      if (words.size() == 1 && assigns(words.front())) words.clear();
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

  void skip_blanks() {
    while (at_ < text_.size()) {
      if (peek() == ' ' || peek() == '\t' || peek() == '\r')
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

  static constexpr std::string_view ends_ = "\n;|&()";

  // At the end of a command: it is passed.
  bool ends_command() {
    if (ends_.find(peek()) == ends_.npos) return false;
    take();
    return true;
  }

  // ">file", "2>&1": no words of the command.
  bool redirects() {
    if (peek() != '>' && peek() != '<') return false;
    while (peek() == '>' || peek() == '<' || peek() == '&') take();
    skip_blanks();
    if (at_ < text_.size() && ends_.find(peek()) == ends_.npos) word();
    return true;
  }

  ShellWord word() {
    ShellWord word{"", line_, ""};
    while (at_ < text_.size()) {
      const char c = peek();
      constexpr std::string_view ends = " \t\r\n;|&()<>";
      if (ends.find(c) != ends.npos) break;
      if (c == '\\') {
        take();
        if (at_ < text_.size() && peek() == '\n')
          take();
        else if (at_ < text_.size())
          word.text += take();
      } else if (c == '\'') {
        take();
        while (at_ < text_.size() && peek() != '\'') word.text += take();
        close();
      } else if (c == '"') {
        take();
        double_quoted(word);
      } else if (c == '$' || c == '`') {
        expansion(word);
      } else {
        word.text += take();
      }
    }
    return word;
  }

  void close() { at_ < text_.size() ? void(take()) : void(unclosed_ = true); }

  void double_quoted(ShellWord& word) {
    while (at_ < text_.size() && peek() != '"') {
      if (peek() == '\\' && (peek(1) == '"' || peek(1) == '\\' || peek(1) == '$' || peek(1) == '`')) {
        take();
        word.text += take();
      } else if (peek() == '\\' && peek(1) == '\n') {
        take();
        take();
      } else if (peek() == '$' || peek() == '`') {
        expansion(word);
      } else {
        word.text += take();
      }
    }
    close();
  }

  void expansion(ShellWord& word) {
    const std::size_t begin = at_;
    const char first = take();
    std::string name;
    if (first == '`') {
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
    } else {
      word.text += '$';
      return;
    }
    const std::string_view whole = text_.substr(begin, at_ - begin);
    if (const auto found = variables_.find(name); !name.empty() && found != variables_.end()) {
      word.text += found->second;
      return;
    }
    word.text += whole;
    if (word.unknown.empty()) word.unknown = whole;
  }

  // NAME=value, before a command or alone
  bool assigns(const ShellWord& word) {
    const std::size_t equals = word.text.find('=');
    if (equals == 0 || equals == word.text.npos || std::isdigit(static_cast<unsigned char>(word.text[0])) != 0)
      return false;
    for (std::size_t i = 0; i < equals; ++i)
      if (!is_name(word.text[i])) return false;
    const std::string name = word.text.substr(0, equals);
    word.unknown.empty() ? void(variables_[name] = word.text.substr(equals + 1)) : void(variables_.erase(name));
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  unsigned line_ = 1;
  bool unclosed_ = false;
  std::map<std::string, std::string, std::less<>> variables_;
};

bool is_qemu(const std::string& word) {
  const std::string name = word.substr(word.rfind('/') + 1);
  return name == "kvm" || name == "qemu-kvm" || name == "qemu" || name.starts_with("qemu-system-");
}

}  // namespace

std::expected<QemuCall, std::string> find_qemu_call(std::string_view text) {
  if (text.size() > most_argv)
    return std::unexpected(fmt::format("{} bytes; wanted at most {}", text.size(), most_argv));
  if (text.find('\0') != text.npos) return std::unexpected("there is a NUL byte in it; wanted a shell's text");
  if (first_broken_utf8(text) != text.npos) return std::unexpected("it is not UTF-8 throughout");
  Shell shell(text);
  while (const auto words = shell.next()) {
    for (std::size_t i = 0; i < words->size(); ++i) {
      if (!is_qemu((*words)[i].text)) continue;
      const auto middle = words->begin() + static_cast<std::ptrdiff_t>(i);
      QemuCall call{middle->text, {words->begin(), middle}, {middle + 1, words->end()}};
      if (shell.unclosed()) return std::unexpected("a quote is not closed; wanted the whole command");
      if (!call.words.empty()) return call;
    }
  }
  if (shell.unclosed()) return std::unexpected("a quote is not closed; wanted the whole command");
  return std::unexpected("no call of QEMU with options is in it; wanted one such as \"qemu-system-x86_64 -m 4G ...\"");
}

}  // namespace launcher::import
