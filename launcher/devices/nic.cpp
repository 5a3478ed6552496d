// A network card's keys, and what it becomes on the command line. The rule: what two of its own keys rule out together
// is said here; what needs other tables is in spec_rules, what needs the host is found out before the plan.
#include "launcher/devices/nic.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/identity.hpp"
#include "launcher/toml_reader.hpp"
#include "topology/sysfs.hpp"

namespace launcher {

namespace {

constexpr std::size_t longest_interface_name = 15;  // IFNAMSIZ - 1
constexpr unsigned most_nic_queues = 256;           // MAX_TAP_QUEUES in the kernel's tun driver

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool is_mac(std::string_view text) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (i % 3 == 2 ? text[i] != ':' : !is_hex(text[i])) return false;
  return true;
}

// Lower case, so that equal addresses are equal strings; "" if it is none, with a problem.
std::string read_mac(TableReader& table) {
  std::string mac = table.text("mac", "");
  if (mac.empty()) return {};
  if (!is_mac(mac)) {
    table.problem("mac",
                  fmt::format("\"{}\" is no MAC address; wanted six pairs of hex digits with colons between", mac),
                  "for example mac = \"52:54:00:12:34:56\"; or leave it out: it is then derived from the VM's name");
    return {};
  }
  std::transform(mac.begin(), mac.end(), mac.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  const unsigned first = static_cast<unsigned>(std::stoul(mac.substr(0, 2), nullptr, 16));
  if (mac == "00:00:00:00:00:00") {
    table.problem("mac", "the all-zero address belongs to no card; wanted an address of its own for this card",
                  "for example mac = \"52:54:00:12:34:56\"; or leave it out");
    return {};
  }
  if (first & 1) {
    table.problem(
        "mac", fmt::format("\"{}\" is a multicast address (its first byte is odd); wanted that of a single card", mac),
        fmt::format("make the first byte even, for example mac = \"{:02x}{}\"", first & ~1u, mac.substr(2)));
    return {};
  }
  return mac;
}

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

void check_user_mode(TableReader& table, const Nic& nic) {
  for (const char* key : {"bridge", "tap"})
    if (table.has(key))
      table.problem(key, fmt::format("mode \"user\" has no {}; wanted mode \"tap\" with it", key),
                    fmt::format("set mode = \"tap\", or remove {}", key));
  if (nic.vhost == true)
    table.problem("vhost",
                  "true, but vhost moves the packets of a tap, and mode \"user\" has none; wanted false or \"auto\"",
                  "set mode = \"tap\", or remove vhost");
  if (nic.queues > 1u)
    table.problem("queues",
                  fmt::format("{} queues, but mode \"user\" can serve only one; wanted 1 or \"auto\"", *nic.queues),
                  "set mode = \"tap\", or remove queues");
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
  if (nic.packed == true && nic.vhost == true)
    table.problem(
        "packed",
        "true together with vhost = true, but the kernel's vhost has no packed ring: the guest would get a split one; "
        "wanted one of the two",
        "remove packed (vhost with a split ring is the faster pair), or set vhost = false");
}

}  // namespace

Nic Nic::read(TableReader& table) {
  Nic nic;
  const bool tap_by_default = table.has("bridge") || table.has("tap");
  nic.mode = static_cast<Mode>(table.choice("mode", {"user", "tap"}, tap_by_default ? 1 : 0));
  nic.bridge = read_interface(table, "bridge");
  nic.tap = read_interface(table, "tap");
  nic.vhost = table.flag_or_auto("vhost");
  nic.queues = table.integer_or_auto("queues", 1, most_nic_queues);
  nic.packed = table.flag_or_auto("packed");
  nic.mac = read_mac(table);
  nic.mtu = table.integer_or_auto("mtu", 68, 65535);  // what virtio-net's host_mtu takes
  if (nic.mode == Mode::user)
    check_user_mode(table, nic);
  else
    check_tap_mode(table, nic);
  return nic;
}

Nic::Facts look_at(const Nic& nic) {
  Nic::Facts facts;
  const topology::Sysfs sysfs;
  const auto net = [](const std::string& name, const char* file) { return "/sys/class/net/" + name + "/" + file; };
  if (!nic.bridge.empty()) {
    facts.bridge_exists = sysfs.exists(net(nic.bridge, "bridge"));
    for (const std::string& port : sysfs.list(net(nic.bridge, "brif"))) {
      if (!facts.node) facts.node = sysfs.node_of(net(port, "device"));
    }
    facts.bridge_mtu = static_cast<unsigned>(sysfs.read_number(net(nic.bridge, "mtu")).value_or(0));
  }
  if (!nic.tap.empty()) {
    const auto flags = sysfs.read(net(nic.tap, "tun_flags"));
    facts.tap_exists = flags.has_value();
    constexpr unsigned long multi_queue = 0x0100;  // IFF_MULTI_QUEUE, include/uapi/linux/if_tun.h
    facts.tap_multi_queue = flags && (std::strtoul(flags->c_str(), nullptr, 16) & multi_queue) != 0;
  }
  facts.vhost_available = access("/dev/vhost-net", R_OK | W_OK) == 0;
  return facts;
}

// Of another machine: everything asked for is there.
Nic::Facts assumed(const Nic&) {
  Nic::Facts facts;
  facts.bridge_exists = facts.tap_exists = facts.tap_multi_queue = facts.vhost_available = true;
  return facts;
}

namespace {

constexpr unsigned most_auto_queues = 8;  // each kernel vhost queue pair is a thread; guide 004 uses 8

bool choose_vhost(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  if (nic.mode != Nic::Mode::tap) return false;
  const bool available = facts.vhost_available;
  if (nic.vhost == true && !available)
    context.problem(
        "vhost",
        "true, but /dev/vhost-net cannot be opened; wanted the vhost_net module loaded and the right to open it",
        "run `modprobe vhost_net`, or set vhost = \"auto\"");
  if (!nic.vhost && !available)
    context.note("vhost", "off: /dev/vhost-net cannot be opened (`modprobe vhost_net` would make it faster)");
  return nic.vhost.value_or(available);
}

unsigned queue_pairs(const Nic& nic, const Nic::Facts& facts, unsigned vcpus) {
  if (nic.mode == Nic::Mode::user) return 1;
  if (!nic.tap.empty() && !facts.tap_multi_queue) return 1;
  return nic.queues.value_or(std::min(vcpus, most_auto_queues));
}

void check_backend(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  if (nic.mode != Nic::Mode::tap) return;
  if (!nic.bridge.empty() && !facts.bridge_exists)
    context.problem(
        "bridge", fmt::format("this host has no bridge '{}'", nic.bridge),
        fmt::format("make it with `ip link add {0} type bridge && ip link set {0} up`, or use mode = \"user\"",
                    nic.bridge));
  if (!nic.tap.empty() && !facts.tap_exists)
    context.problem("tap", fmt::format("this host has no tap '{}'", nic.tap),
                    fmt::format("make it with `ip tuntap add {} mode tap multi_queue`, or name a bridge", nic.tap));
  if (!nic.bridge.empty() && !context.root)
    context.problem("bridge", "making a tap and attaching it needs root; this is an ordinary user",
                    "run vmrun as root, hand in a tap that you own (tap = \"tap0\"), or use mode = \"user\"");
  if (!nic.tap.empty() && facts.tap_exists && !facts.tap_multi_queue && nic.queues > 1u)
    context.problem(
        "queues", fmt::format("{} queues, but tap '{}' was made without multi_queue", *nic.queues, nic.tap),
        fmt::format("make it again with `ip tuntap add {} mode tap multi_queue`, or set queues = 1", nic.tap));
  if (nic.mtu && facts.bridge_mtu != 0 && *nic.mtu > facts.bridge_mtu)
    context.problem("mtu",
                    fmt::format("{}, but bridge {} passes at most {} bytes; larger packets would be lost", *nic.mtu,
                                nic.bridge, facts.bridge_mtu),
                    fmt::format("run `ip link set {} mtu {}`, or lower mtu", nic.bridge, *nic.mtu));
}

std::string joined(const std::vector<int>& fds) { return fmt::format("{}", fmt::join(fds, ":")); }

std::vector<int> take(DeviceContext& context, unsigned queues, const std::string& what) {
  std::vector<int> fds;
  for (unsigned i = 0; i < queues; ++i) fds.push_back(context.fds.take(what));
  return fds;
}

// Steps that open the tap (and vhost), and the -netdev that takes their fds.
void add_tap(const Nic& nic, const Nic::Facts& facts, DeviceContext& context, unsigned queues, bool vhost,
             std::optional<unsigned> mtu) {
  const std::vector<int> taps = take(context, queues, fmt::format("net{} tap", context.index));
  if (nic.tap.empty())
    context.steps.push_back({MakeTap{tap_of(context.vm, context.index), nic.bridge, mtu, taps},
                             "one queue per virtqueue pair", context.origin("bridge")});
  else
    context.steps.push_back({OpenTap{nic.tap, facts.tap_multi_queue, taps}, "the tap given", context.origin("tap")});
  Opts netdev("tap");
  netdev.set("id", fmt::format("net{}-host", context.index))
      .set(queues > 1 ? "fds" : "fd", joined(taps))
      .set("vhost", vhost);
  if (vhost) {
    const std::vector<int> workers = take(context, queues, fmt::format("net{} vhost", context.index));
    context.steps.push_back({OpenVhost{workers}, "packets move in the kernel, past QEMU",
                             nic.vhost ? context.origin("vhost") : "guide 004"});
    netdev.set(queues > 1 ? "vhostfds" : "vhostfd", joined(workers));
  }
  context.args.add("-netdev", netdev, vhost ? "tap with a vhost worker per queue pair" : "tap, served by QEMU",
                   context.origin(nic.tap.empty() ? "bridge" : "tap"));
}

}  // namespace

DeviceNeeds needs(const Nic& nic, const Nic::Facts& facts, unsigned vcpus) {
  const bool vhost = nic.mode == Nic::Mode::tap && nic.vhost.value_or(facts.vhost_available);
  return {.vhost_workers = vhost ? queue_pairs(nic, facts, vcpus) : 0, .node = facts.node};
}

void plan_device(const Nic& nic, const Nic::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  check_backend(nic, facts, context);
  const bool vhost = choose_vhost(nic, facts, context);
  const unsigned queues = queue_pairs(nic, facts, context.vcpus);
  const bool known = context.qemu.has("virtio-net-pci.packed");
  if (nic.packed == true && vhost)
    context.problem("packed",
                    "true, but kernel vhost serves this card and has no packed ring: the guest would get a split one",
                    "set vhost = false, or remove packed");
  if (nic.packed == true && !known)
    context.problem("packed", fmt::format("QEMU {} has no packed virtqueues for virtio-net", context.qemu.version),
                    "remove packed");
  if (context.problems.size() > problems) return;
  const bool packed = nic.packed.value_or(known && !vhost);
  if (!nic.packed && vhost)
    context.note("packed", "off: kernel vhost has no packed ring and would fall back to a split one");
  std::optional<unsigned> mtu = nic.mtu;
  if (!mtu && facts.bridge_mtu > 1500) {
    mtu = facts.bridge_mtu;
    context.note("mtu", fmt::format("{}: what bridge {} has", *mtu, nic.bridge));
  }
  const std::string host_side = fmt::format("net{}-host", context.index);
  if (nic.mode == Nic::Mode::user)
    context.args.add("-netdev", Opts("user").set("id", host_side), "no rights needed; slower than a tap",
                     context.origin("mode"));
  else
    add_tap(nic, facts, context, queues, vhost, mtu);
  Opts device("virtio-net-pci");
  device.set("id", fmt::format("net{}", context.index)).set("netdev", host_side);
  context.set_address(device);
  const std::string mac = nic.mac.empty() ? mac_of(context.vm, context.index) : nic.mac;
  context.claim("mac", "MAC address " + mac);
  if (nic.mode == Nic::Mode::tap)
    context.claim("tap", "tap " + (nic.tap.empty() ? tap_of(context.vm, context.index) : nic.tap));
  device.set("mac", mac).set("packed", packed);
  if (queues > 1) device.set("mq", true).set("vectors", 2 * queues + 2);
  if (mtu) device.set("host_mtu", *mtu);
  if (!context.boots_from_net) device.set("romfile", "");
  context.args.add("-device", device,
                   queues > 1 ? fmt::format("{} queue pairs; vectors = 2 x {} + config + control", queues, queues)
                              : "one queue pair",
                   nic.queues ? context.origin("queues") : "guide 001");
}

}  // namespace launcher
