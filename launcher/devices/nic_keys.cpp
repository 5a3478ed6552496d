// A network card's keys. The rule: what two of its own keys rule out together is said here; what needs other tables is in
// spec_rules, what needs the host or a QEMU in nic_check.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "launcher/devices/nic.hpp"
#include "launcher/devices/nic_forward.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

constexpr std::size_t longest_interface_name = 15;  // IFNAMSIZ - 1
constexpr unsigned most_nic_queues = 256;           // MAX_TAP_QUEUES in the kernel's tun driver
constexpr std::size_t longest_socket_path = 107;    // sockaddr_un

std::string read_interface(TableReader& table, std::string_view key) {
  std::string name = table.text(key, "");
  if (name.empty()) return {};
  const bool bad_byte = std::any_of(name.begin(), name.end(),
                                    [](unsigned char c) { return c <= 0x20 || c == 0x7f || c == '/' || c == ':'; });
  if (name.size() <= longest_interface_name && !bad_byte && name != "." && name != "..") return name;
  table.problem(
      key,
      fmt::format(
          "\"{}\" cannot be the name of a network interface; wanted at most {} bytes without spaces, '/' and ':'", name,
          longest_interface_name),
      "`ip -br link` lists the interfaces of this host");
  return {};
}

// "1Gbit", "250Mbit", "64kbit" -> bits a second; 0 if absent or wrong, with a problem.
std::uint64_t read_rate(TableReader& table, std::string_view key) {
  const std::string text = table.text(key, "");
  if (text.empty()) return 0;
  static const std::map<std::string_view, std::uint64_t> units = {
      {"kbit", 1'000}, {"Mbit", 1'000'000}, {"Gbit", 1'000'000'000}};
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const auto unit = units.find({rest, static_cast<std::size_t>(end - rest)});
  constexpr std::uint64_t least = 64'000, most = 1'000'000'000'000;
  if (error == std::errc() && unit != units.end() && number <= most / unit->second) {
    const std::uint64_t bits = number * unit->second;
    if (bits >= least) return bits;
  }
  table.problem(
      key,
      fmt::format("\"{}\" is no rate; wanted a whole number of kbit, Mbit or Gbit a second, from 64kbit to 1000Gbit",
                  printable(text)),
      fmt::format("for example {} = \"1Gbit\"", key));
  return 0;
}

// A ring: QEMU takes powers of two.
std::optional<unsigned> read_ring(TableReader& table, std::string_view key) {
  const auto size = table.integer_or_auto(key, 256, 1024);
  if (!size || *size == 256 || *size == 512 || *size == 1024)
    return size ? std::optional<unsigned>(*size) : std::nullopt;
  table.problem(key, fmt::format("{} is no power of two; wanted 256, 512 or 1024", *size),
                fmt::format("set {} = {}", key, *size < 512 ? 512 : 1024));
  return std::nullopt;
}

std::optional<topology::Bytes> read_sndbuf(TableReader& table) {
  const topology::Bytes size = table.size("sndbuf", {0}, {4096}, topology::gib(1));
  return size.count == 0 ? std::nullopt : std::optional(size);
}

constexpr const char* mode_names[] = {"user", "tap", "macvtap", "passt", "vhost-user", "vdpa"};

// Each key that only some modes have, and which.
struct ModeKey {
  const char* key;
  std::vector<Nic::Mode> modes;
};
const std::vector<ModeKey>& mode_keys() {
  using enum Nic::Mode;
  static const std::vector<ModeKey> keys = {{"bridge", {tap}},
                                            {"vlan", {tap}},
                                            {"tap", {tap}},
                                            {"over", {macvtap}},
                                            {"macvtap", {macvtap}},
                                            {"socket", {vhost_user}},
                                            {"server", {vhost_user}},
                                            {"device", {vdpa}},
                                            {"forward", {user, passt}},
                                            {"host_loopback", {user, passt}},
                                            {"poll_us", {tap, macvtap}},
                                            {"sndbuf", {tap, macvtap}},
                                            {"receive_limit", {tap, macvtap}},
                                            {"send_limit", {tap, macvtap}},
                                            {"tx_queue_size", {vhost_user, vdpa}}};
  return keys;
}

void check_mode_keys(TableReader& table, const Nic& nic) {
  const char* name = mode_names[static_cast<int>(nic.mode)];
  for (const auto& [key, modes] : mode_keys()) {
    if (!table.has(key) || std::find(modes.begin(), modes.end(), nic.mode) != modes.end()) continue;
    if (std::string_view(key) == "tx_queue_size" && nic.tx_queue_size.value_or(256) == 256) continue;
    std::string wanted = fmt::format("\"{}\"", mode_names[static_cast<int>(modes.front())]);
    if (modes.size() > 1) wanted += fmt::format(" or \"{}\"", mode_names[static_cast<int>(modes.back())]);
    if (std::string_view(key) == "tx_queue_size")
      table.problem(key,
                    fmt::format("{}, but QEMU lengthens the transmit ring only for mode {}; wanted 256 or \"auto\"",
                                *nic.tx_queue_size, wanted),
                    "remove tx_queue_size; rx_queue_size may be longer with every mode");
    else
      table.problem(key, fmt::format("mode \"{}\" has no {}; wanted mode {} with it", name, key, wanted),
                    fmt::format("set mode = \"{}\", or remove {}", mode_names[static_cast<int>(modes.front())], key));
  }
}

void check_queues(TableReader& table, const Nic& nic) {
  const bool one = nic.mode == Nic::Mode::user || nic.mode == Nic::Mode::passt;
  if (one && nic.queues > 1u)
    table.problem("queues",
                  fmt::format("{} queues, but mode \"{}\" can serve only one; wanted 1 or \"auto\"", *nic.queues,
                              mode_names[static_cast<int>(nic.mode)]),
                  "set mode = \"tap\", or remove queues");
  if (!nic.is_tap() && nic.vhost == true)
    table.problem(
        "vhost",
        fmt::format("true, but vhost moves the packets of a tap, and mode \"{}\" has none; wanted false or \"auto\"",
                    mode_names[static_cast<int>(nic.mode)]),
        "set mode = \"tap\", or remove vhost");
}

void check_tap_mode(TableReader& table, const Nic& nic) {
  if (!nic.bridge.empty() && !nic.tap.empty())
    table.problem(
        "bridge",
        "given together with tap; wanted one of them: a tap of your own is already attached where you want it",
        "remove bridge to use that tap as it is, or remove tap to have vmrun make one and attach it to the bridge");
  if (!table.has("bridge") && !table.has("tap"))
    table.problem(
        "mode", "\"tap\", but neither bridge nor tap says where its packets go; wanted one of them",
        "add bridge = \"br0\" to have vmrun make a tap and attach it there, or tap = \"tap0\" to use one you made");
  if (!nic.tap.empty() && table.has("vlan"))
    table.problem(
        "vlan", "given for a tap of your own, which vmrun uses as it is; wanted it with bridge",
        fmt::format("run `bridge vlan add dev {} vid {} pvid untagged`, or name the bridge instead of the tap", nic.tap,
                    nic.vlan.value_or(100)));
  for (const char* key : {"receive_limit", "send_limit"})
    if (!nic.tap.empty() && table.has(key))
      table.problem(key, "given for a tap of your own, which vmrun uses as it is; wanted it on one that vmrun makes",
                    fmt::format("limit it with `tc`, or name a bridge instead of the tap, or remove {}", key));
}

// What the kernel's vhost lacks: asked for together with it, one of the two could not be met.
void check_vhost(TableReader& table, const Nic& nic) {
  if (nic.packed == true && nic.vhost == true)
    table.problem(
        "packed",
        "true together with vhost = true, but the kernel's vhost has no packed ring: the guest would get a split one; "
        "wanted one of the two",
        "remove packed (vhost with a split ring is the faster pair), or set vhost = false");
  for (const auto& [key, on] : {std::pair("rss", nic.rss), {"hash", nic.hash}})
    if (on && nic.vhost == true)
      table.problem(
          key,
          fmt::format("true together with vhost = true, but the kernel's vhost has no {}; wanted one of the two",
                      key == std::string_view("rss") ? "receive steering" : "hash of packets"),
          fmt::format("remove {}, or set vhost = false", key));
  if (nic.rss && nic.queues == 1u)
    table.problem("rss", "true with one queue; wanted several, over which packets are spread",
                  "raise queues, or remove rss");
  if (nic.poll_us && nic.vhost == false)
    table.problem("poll_us", "given together with vhost = false; wanted vhost: it is its worker that polls",
                  "remove vhost = false, or poll_us");
}

void check_other_modes(TableReader& table, const Nic& nic) {
  if (nic.mode == Nic::Mode::macvtap && !table.has("over"))
    table.problem("mode", "\"macvtap\", but over does not say on which interface; wanted it",
                  "add over = \"eth0\"; `ip -br link` lists the interfaces of this host");
  if (nic.mode == Nic::Mode::vdpa && !table.has("device"))
    table.problem("mode", "\"vdpa\", but device does not say which; wanted it",
                  "add device = \"/dev/vhost-vdpa-0\"; `vdpa dev show` lists those of this host");
  if (nic.mode != Nic::Mode::vhost_user) return;
  if (nic.server && !nic.socket.empty())
    table.problem("socket",
                  "given together with server = true; wanted one of them: its socket then lies in the VM's directory",
                  "remove socket (`vmrun plan` shows where the other process connects to), or remove server");
  if (!nic.server && !table.has("socket"))
    table.problem("mode",
                  "\"vhost-user\", but neither socket nor server says how the other process is met; wanted one of them",
                  "add socket = \"PATH\" where it listens, or server = true to have QEMU listen for it");
  if (nic.socket.size() > longest_socket_path)
    table.problem("socket",
                  fmt::format("this path has {} bytes; wanted at most {}, as a unix socket's address has",
                              nic.socket.size(), longest_socket_path),
                  "choose a shorter path");
}

// An emulated card has nothing of what virtio has, and no other process can serve it.
void check_model(TableReader& table, const Nic& nic) {
  if (nic.model == Nic::Model::virtio) return;
  const auto refuse = [&](bool given, const char* key) {
    if (given)
      table.problem(key, "not to be had with model \"e1000e\"; wanted it with \"virtio\" only",
                    fmt::format("remove {}, or model", key));
  };
  refuse(nic.mode == Nic::Mode::vhost_user || nic.mode == Nic::Mode::vdpa, "mode");
  refuse(nic.vhost == true, "vhost");
  refuse(nic.queues > 1u, "queues");
  refuse(nic.packed == true, "packed");
  refuse(nic.rx_queue_size.has_value(), "rx_queue_size");
  refuse(nic.tx_queue_size.has_value(), "tx_queue_size");
  refuse(nic.poll_us.has_value(), "poll_us");
  refuse(nic.rss, "rss");
  refuse(nic.hash, "hash");
}

Nic::Mode default_mode(const TableReader& table) {
  if (table.has("bridge") || table.has("tap")) return Nic::Mode::tap;
  if (table.has("over")) return Nic::Mode::macvtap;
  if (table.has("socket") || table.has("server")) return Nic::Mode::vhost_user;
  if (table.has("device")) return Nic::Mode::vdpa;
  return Nic::Mode::user;
}

}  // namespace

Nic Nic::read(TableReader& table) {
  Nic nic;
  nic.mode = static_cast<Mode>(table.choice("mode", {std::begin(mode_names), std::end(mode_names)},
                                            static_cast<std::size_t>(default_mode(table))));
  nic.model = static_cast<Model>(table.choice("model", {"virtio", "e1000e"}, 0));
  nic.bridge = read_interface(table, "bridge");
  nic.vlan = table.integer_or_auto("vlan", 1, 4094);
  nic.tap = read_interface(table, "tap");
  nic.over = read_interface(table, "over");
  const std::vector<std::string> kinds = {"bridge", "private", "vepa", "passthru"};
  nic.macvtap = kinds[table.choice("macvtap", kinds, 0)];
  nic.socket = table.path("socket", false);
  nic.server = table.flag("server", false);
  nic.device = table.path("device", false);
  nic.forward = read_forwards(table);
  nic.host_loopback = table.flag("host_loopback", false);
  nic.vhost = table.flag_or_auto("vhost");
  nic.queues = table.integer_or_auto("queues", 1, most_nic_queues);
  nic.packed = table.flag_or_auto("packed");
  nic.mac = read_mac(table);
  nic.guest_bus = table.integer_or_auto("guest_bus", 1, 8);
  nic.mtu = table.integer_or_auto("mtu", 68, 65535);  // what virtio-net's host_mtu takes
  nic.rx_queue_size = read_ring(table, "rx_queue_size");
  nic.tx_queue_size = read_ring(table, "tx_queue_size");
  const auto poll_us = static_cast<unsigned>(table.integer("poll_us", 0, 0, 1'000'000));
  if (poll_us > 0) nic.poll_us = poll_us;
  nic.sndbuf = read_sndbuf(table);
  nic.rss = table.flag("rss", false);
  nic.hash = table.flag("hash", false);
  nic.receive_limit = read_rate(table, "receive_limit");
  nic.send_limit = read_rate(table, "send_limit");
  check_mode_keys(table, nic);
  for (std::size_t i = 0; i < nic.forward.size(); ++i)
    if (nic.mode == Nic::Mode::user && nic.forward[i].ipv6())
      table.problem(fmt::format("forward[{}]", i),
                    fmt::format("[{}] is an IPv6 address, and QEMU's user networking listens on IPv4 only; wanted such",
                                nic.forward[i].address),
                    "set mode = \"passt\", or leave the address out");
  check_queues(table, nic);
  check_model(table, nic);
  check_vhost(table, nic);
  if (nic.mode == Mode::tap) check_tap_mode(table, nic);
  check_other_modes(table, nic);
  return nic;
}

}  // namespace launcher::devices
