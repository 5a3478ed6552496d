// See argv_words.hpp.
#include "launcher/import/argv_words.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "launcher/text/printable.hpp"

namespace launcher::inline import {

namespace {

bool is_qemu(const std::string& word) {
  const std::string name = word.substr(word.rfind('/') + 1);
  return name == "kvm" || name == "qemu-kvm" || name == "qemu" || name.starts_with("qemu-system-");
}

// "--version", "-device help": no VM.
bool asks_only(const QemuCall& call) {
  const std::string& last = call.words.back().text;
  return call.words.size() <= 2 && (last == "-version" || last == "--version" || last == "-h" || last == "-help" ||
                                    last == "--help" || last == "help" || last == "?");
}

// /proc/PID/cmdline: each word ends with a NUL byte.
std::expected<QemuCall, std::string> call_of_process(std::string_view text) {
  QemuCall call;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    ShellWord word{std::string(text.substr(at, end - at)), 1, ""};
    at == 0 ? void(call.program = word.text) : call.words.push_back(std::move(word));
    at = end + 1;
  }
  if (is_qemu(call.program) && !call.words.empty()) return call;
  return std::unexpected("its words end with NUL bytes, but the first names no QEMU; wanted /proc/PID/cmdline of one");
}

}  // namespace

std::expected<QemuCall, std::string> find_qemu_call(std::string_view text) {
  if (text.size() > most_argv)
    return std::unexpected(fmt::format("{} bytes; wanted at most {}", text.size(), most_argv));
  if (first_broken_utf8(text) != text.npos) return std::unexpected("it is not UTF-8 throughout");
  if (text.find('\0') != text.npos) return call_of_process(text);
  const ShellText shell = read_shell(text);
  std::optional<QemuCall> found;
  for (const std::vector<ShellWord>& words : shell.commands) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (!is_qemu(words[i].text)) continue;
      const auto middle = words.begin() + static_cast<std::ptrdiff_t>(i);
      QemuCall call{middle->text, {words.begin(), middle}, {middle + 1, words.end()}};
      if (shell.unclosed && &words == &shell.commands.back() && !found)
        return std::unexpected("a quote is not closed; wanted the whole command");
      if (call.words.empty() || asks_only(call)) break;
      if (found && !call.words.front().text.starts_with('-')) break;
      if (found)
        return std::unexpected(fmt::format("lines {} and {} both call QEMU; wanted the command line of one VM",
                                           found->words.front().line, call.words.front().line));
      found = std::move(call);
      break;
    }
  }
  if (found) return *found;
  if (shell.unclosed) return std::unexpected("a quote is not closed; wanted the whole command");
  return std::unexpected("no call of QEMU with options is in it; wanted one such as \"qemu-system-x86_64 -m 4G ...\"");
}

}  // namespace launcher::import
