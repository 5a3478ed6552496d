// What people write who know another program's words: QEMU's, libvirt's, TOML's neighbours'. The rule: a guess is one of the choices
// that are there, so following it leads to a plan.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "launcher/text/problem.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

namespace {

struct Word {
  std::string_view written, meant;  // a word may stand in several lines: the first that is a choice counts
};
constexpr auto foreign_words = std::to_array<Word>({
    {"true", "on"},
    {"yes", "on"},
    {"enabled", "on"},
    {"1", "on"},
    {"false", "off"},
    {"false", "none"},
    {"no", "off"},
    {"no", "none"},
    {"off", "none"},
    {"none", "off"},
    {"disabled", "off"},
    {"disabled", "none"},
    {"0", "off"},
    {"default", "auto"},
    {"true", "auto"},
    {"yes", "auto"},
    {"on", "auto"},
    {"any", "auto"},
    {"virtio", "virtio-blk"},
    {"virtio", "tap"},
    {"blk", "virtio-blk"},
    {"vda", "virtio-blk"},
    {"sata", "virtio-blk"},
    {"ide", "virtio-blk"},
    {"ahci", "virtio-blk"},
    {"scsi", "virtio-scsi"},
    {"libaio", "native"},
    {"linux-aio", "native"},
    {"uring", "io_uring"},
    {"img", "raw"},
    {"iso", "raw"},
    {"dd", "raw"},
    {"bin", "raw"},
    {"nat", "user"},
    {"slirp", "user"},
    {"network", "user"},
    {"bridge", "tap"},
    {"bridged", "tap"},
    {"ethernet", "tap"},
    {"direct", "macvtap"},
    {"macvlan", "macvtap"},
    {"vhostuser", "vhost-user"},
    {"bind", "strict"},
    {"membind", "strict"},
    {"prefer", "preferred"},
    {"tpm-crb", "crb"},
    {"tpm-tis", "tis"},
    {"2.0", "crb"},
    {"reboot", "reset"},
    {"restart", "reset"},
    {"shutdown", "poweroff"},
    {"shutdown", "exit"},
    {"halt", "poweroff"},
    {"poweroff", "exit"},
    {"destroy", "exit"},
    {"stop", "pause"},
    {"ignore", "none"},
    {"local", "localtime"},
    {"gmt", "utc"},
    {"qemu", "tcg"},
    {"emulation", "tcg"},
    {"software", "tcg"},
    {"hvf", "auto"},
    {"xen", "auto"},
    {"whpx", "auto"},
    {"host", "auto"},
    {"pty", "socket"},
    {"unix", "socket"},
    {"serial", "stdio"},
    {"tty", "stdio"},
    {"terminal", "stdio"},
    {"realtime", "fifo"},
    {"rt", "fifo"},
    {"high", "throughput"},
    {"performance", "throughput"},
});

bool is_choice(const std::vector<std::string>& choices, std::string_view word) {
  return std::ranges::find(choices, word) != choices.end();
}

}  // namespace

std::string meant(const TomlNode& node, const std::vector<std::string>& choices) {
  std::string written = node.kind == TomlNode::Kind::text      ? lowered(node.text)
                        : node.kind == TomlNode::Kind::boolean ? (node.flag ? "true" : "false")
                        : node.kind == TomlNode::Kind::integer ? std::to_string(node.number)
                                                               : "";
  if (is_choice(choices, written)) return written;
  for (const Word& word : foreign_words)
    if (word.written == written && is_choice(choices, word.meant)) return std::string(word.meant);
  for (const std::string& choice : choices)  // "virtio-blk-pci", "kvm64", "windows11"
    if (choice.size() >= 3 && written.starts_with(choice)) return choice;
  return node.kind == TomlNode::Kind::text ? closest(node.text, choices) : "";
}

std::optional<bool> meant_flag(const TomlNode& node) {
  static const std::vector<std::string> on_and_off = {"on", "off"};
  const std::string word = meant(node, on_and_off);
  if (word.empty()) return std::nullopt;
  return word == "on";
}

std::string size_meant(const std::string& text) {
  std::string upper(text);
  std::erase_if(upper, [](unsigned char c) { return std::isspace(c) != 0; });
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const auto digits = upper.find_first_not_of("0123456789");
  if (digits == 0 || digits == upper.npos) return {};
  if (upper[digits] == '.') {  // "1.5G": the whole number of the next unit below
    const auto unit = upper.find_first_of("KMGT", digits);
    double value = 0;
    if (unit == upper.npos || std::from_chars(upper.data(), upper.data() + unit, value).ptr != upper.data() + unit)
      return {};
    constexpr std::string_view below = "BKMG", units = "KMGT";
    const double lower = value * 1024;
    if (lower != static_cast<double>(static_cast<std::uint64_t>(lower)) || upper[unit] == 'K') return {};
    return std::to_string(static_cast<std::uint64_t>(lower)) + below[units.find(upper[unit])];
  }
  return upper.find_first_of("KMGT", digits) == digits ? upper.substr(0, digits + 1) : "";
}

}  // namespace launcher::text
