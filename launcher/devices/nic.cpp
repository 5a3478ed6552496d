// What the machine says of a network card's host side, and what the card becomes in the guest.
#include "launcher/devices/nic.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/identity.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/facts/in_use.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/facts/port_holder.hpp"
#include "launcher/text/printable.hpp"
#include "topology/sysfs.hpp"
#include "topology/words.hpp"

namespace launcher::inline devices {

namespace {

std::string link_file(const std::string& name, const char* file) { return "/sys/class/net/" + name + "/" + file; }

// In words; "": there is none of that name.
std::string kind_of_link(const topology::Sysfs& sysfs, const std::string& name) {
  if (!sysfs.exists(link_file(name, "ifindex"))) return "";
  const auto is = [&](const char* word) {
    return topology::has_word(sysfs.read(link_file(name, "uevent")).value_or(""), std::string("DEVTYPE=") + word);
  };
  // the local port of a bridge of Open vSwitch's is, like its other ports, one of ovs-system's
  if (sysfs.link_name(link_file(name, "master")) == "ovs-system") return "a bridge or port of Open vSwitch";
  if (is("bond")) return "a bond";
  if (is("vlan")) return "a VLAN's interface";
  if (is("wlan")) return "a wireless card";
  if (sysfs.exists(link_file(name, "tun_flags"))) return "a tap";
  if (sysfs.exists(link_file(name, "master"))) return "a port of another bridge or bond";
  return "an interface";
}

void look_at_bridge(const Nic& nic, Nic::Facts& facts) {
  const topology::Sysfs sysfs;
  facts.bridge_exists = sysfs.exists(link_file(nic.bridge, "bridge"));
  facts.bridge_filters = sysfs.read_number(link_file(nic.bridge, "bridge/vlan_filtering")).value_or(0) == 1;
  if (!facts.bridge_exists) facts.bridge_is = kind_of_link(sysfs, nic.bridge);
  for (const std::string& port : sysfs.list(link_file(nic.bridge, "brif"))) {
    if (!facts.node) facts.node = sysfs.node_of(link_file(port, "device"));
  }
  facts.link_mtu = static_cast<unsigned>(sysfs.read_number(link_file(nic.bridge, "mtu")).value_or(0));
}

void look_at_lower(const Nic& nic, Nic::Facts& facts) {
  const topology::Sysfs sysfs;
  facts.over_exists = sysfs.exists(link_file(nic.over, "ifindex"));
  facts.over_is_port = sysfs.exists(link_file(nic.over, "master"));
  facts.node = sysfs.node_of(link_file(nic.over, "device"));
  facts.link_mtu = static_cast<unsigned>(sysfs.read_number(link_file(nic.over, "mtu")).value_or(0));
}

void look_at_tap(const Nic& nic, Nic::Facts& facts) {
  const auto flags = topology::Sysfs{}.read(link_file(nic.tap, "tun_flags"));
  facts.tap_exists = flags.has_value();
  constexpr unsigned long multi_queue = 0x0100;  // IFF_MULTI_QUEUE, include/uapi/linux/if_tun.h
  facts.tap_multi_queue = flags && (std::strtoul(flags->c_str(), nullptr, 16) & multi_queue) != 0;
}

void look_at_device(const Nic& nic, Nic::Facts& facts) {
  facts.path_ids = identities(nic.device);
  facts.device_misfit = misfit(nic.device, {S_IFCHR}, R_OK | W_OK);
  struct stat info {};
  if (!facts.device_misfit.empty() || stat(nic.device.c_str(), &info) < 0) return;
  std::error_code unknown;
  const auto found =
      std::filesystem::canonical(fmt::format("/sys/dev/char/{}:{}", major(info.st_rdev), minor(info.st_rdev)), unknown);
  if (!found.filename().string().starts_with("vhost-vdpa-"))
    facts.device_misfit = fmt::format("'{}' is a character device other than vhost-vdpa", printable(nic.device));
}

void look_at_socket(const Nic& nic, Nic::Facts& facts) {
  facts.path_ids = identities(nic.socket);
  facts.socket_misfit = misfit(nic.socket, {S_IFSOCK}, R_OK | W_OK);
  if (facts.socket_misfit.empty() && !has_listener(nic.socket))
    facts.socket_misfit = fmt::format("nobody listens on '{}'", printable(nic.socket));
  struct stat info {};
  const std::string directory = std::filesystem::path(nic.socket).parent_path();
  facts.socket_found_by_all = stat(directory.c_str(), &info) == 0 && (info.st_mode & S_IXOTH) != 0;
  if (stat(nic.socket.c_str(), &info) < 0) return;
  facts.socket_open_to_all = (info.st_mode & S_IWOTH) != 0;
  facts.socket_uid = info.st_uid;
}

}  // namespace

Nic::Facts look_at(const Nic& nic, const HostConfig& config) {
  Nic::Facts facts;
  if (!nic.bridge.empty()) look_at_bridge(nic, facts);
  if (!nic.over.empty()) look_at_lower(nic, facts);
  if (!nic.tap.empty()) look_at_tap(nic, facts);
  facts.vhost_available = access("/dev/vhost-net", R_OK | W_OK) == 0;
  if (!nic.socket.empty()) look_at_socket(nic, facts);
  if (!nic.device.empty()) look_at_device(nic, facts);
  for (const Forward& one : nic.forward) facts.port_holders.push_back(port_holder(one.udp, one.address, one.host_port));
  if (nic.mode == Nic::Mode::passt) facts.passt = find_program(config.passt).value_or("");
  if (const auto first = topology::Sysfs{}.read_number("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
    facts.first_free_port = static_cast<unsigned>(*first);
  return facts;
}

// Of another machine: everything asked for is there.
Nic::Facts assumed(const Nic&) {
  Nic::Facts facts;
  facts.bridge_exists = facts.bridge_filters = facts.tap_exists = facts.tap_multi_queue = facts.vhost_available = true;
  facts.over_exists = facts.socket_open_to_all = facts.socket_found_by_all = true;
  facts.passt = "/usr/bin/passt";
  return facts;
}

namespace {

constexpr unsigned most_auto_queues = 8;  // each kernel vhost queue pair is a thread; guide 004 uses 8

bool choose_vhost(const Nic& nic, const Nic::Facts& facts) {
  return nic.is_tap() && nic.model == Nic::Model::virtio && nic.vhost.value_or(facts.vhost_available);
}

unsigned queue_pairs(const Nic& nic, const Nic::Facts& facts, unsigned vcpus) {
  if (nic.mode == Nic::Mode::user || nic.mode == Nic::Mode::passt || nic.model != Nic::Model::virtio) return 1;
  if (!nic.is_tap()) return nic.queues.value_or(1);  // only the process or device behind it knows how many it has
  if (!nic.tap.empty() && !facts.tap_multi_queue) return 1;
  return nic.queues.value_or(std::min(vcpus, most_auto_queues));
}

NicChoice choose(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  NicChoice choice;
  choice.vhost = choose_vhost(nic, facts);
  choice.queues = queue_pairs(nic, facts, context.vcpus);
  const bool by_qemu = nic.mode != Nic::Mode::vhost_user && nic.mode != Nic::Mode::vdpa;
  choice.packed = nic.model == Nic::Model::virtio &&
                  nic.packed.value_or(context.qemu.has("virtio-net-pci.packed") && !choice.vhost && by_qemu);
  choice.mtu = nic.mtu;
  if (!choice.mtu && facts.link_mtu > 1500) choice.mtu = facts.link_mtu;
  choice.mac = nic.mac.empty() ? mac_of(context.vm, context.index, context.host_id) : nic.mac;
  return choice;
}

// What "auto" became.
void tell(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, const DeviceContext& context) {
  if (nic.is_tap() && nic.model == Nic::Model::virtio && !nic.vhost && !facts.vhost_available)
    context.note("vhost", "off: /dev/vhost-net cannot be opened (`modprobe vhost_net` would make it faster)");
  if (!nic.packed && choice.vhost)
    context.note("packed", "off: kernel vhost has no packed ring and would fall back to a split one");
  if (nic.packed == true && (nic.mode == Nic::Mode::vhost_user || nic.mode == Nic::Mode::vdpa))
    context.note("packed", "in use when what serves the card offers it, too");
  if (!nic.mtu && choice.mtu)
    context.note("mtu", nic.over.empty() ? fmt::format("{}: what bridge {} has", *choice.mtu, nic.bridge)
                                         : fmt::format("{}: what {} has", *choice.mtu, nic.over));
}

}  // namespace

DeviceNeeds needs(const Nic& nic, const Nic::Facts& facts, unsigned vcpus) {
  return {.vhost_workers = choose_vhost(nic, facts) ? queue_pairs(nic, facts, vcpus) : 0,
          .node = facts.node,
          // a vDPA device may be another process (VDUSE), or one that reads and writes pinned pages
          .shared_memory = nic.mode == Nic::Mode::vhost_user || nic.mode == Nic::Mode::vdpa,
          .locked_memory = nic.mode == Nic::Mode::vdpa};
}

namespace {

// On the board's first bus; or behind a root port. The guest's firmware counts the board's ports in the order of their places, so the
// first is bus 1: those before the one that is asked for are there for that, and for [[pci]].
void set_place(const Nic& nic, Opts& device, DeviceContext& context) {
  if (!nic.guest_bus) return context.set_address(device);
  const std::string origin = context.origin("guest_bus");
  unsigned& ports = context.results.used_slots["pcie.0"];
  for (; ports < *nic.guest_bus; ++ports) {
    constexpr unsigned first_chassis = 128;  // those of [[pci]] are below
    Opts port("pcie-root-port");
    port.set("id", fmt::format("bus{}-port", ports + 1))
        .set("bus", "pcie.0")
        .set("addr", fmt::format("{:02x}.{}", slots::ports, ports));
    if (ports == 0) port.set("multifunction", true);
    port.set("chassis", first_chassis + ports);
    if (context.qemu.has("pcie-root-port.hotplug")) port.set("hotplug", false);
    context.args.add("-device", port, fmt::format("the guest's firmware numbers what is behind it {}", ports + 1),
                     origin);
  }
  device.set("bus", fmt::format("bus{}-port", *nic.guest_bus));
}

void check_place(const Nic& nic, DeviceContext& context) {
  if (!nic.guest_bus) return;
  if (context.shares_slot)
    context.problem("guest_bus", "not with more than eight cards, which share places on the board's first bus",
                    "remove it, or some cards");
  if (context.results.used_slots[fmt::format("guest bus {}", *nic.guest_bus)]++ > 0)
    context.problem("guest_bus", fmt::format("another card is on bus {} already; wanted one for each", *nic.guest_bus),
                    "choose another number, or remove it");
}

}  // namespace

void plan_device(const Nic& nic, const Nic::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  const NicChoice choice = choose(nic, facts, context);
  check(nic, facts, choice, context);
  check_place(nic, context);
  if (context.problems.size() > problems) return;
  tell(nic, facts, choice, context);
  context.claim("mac", "MAC address " + choice.mac);
  context.results.cards.push_back({choice.mac, choice.queues, choice.mtu});
  add_host_side(nic, facts, choice, context);
  const bool emulated = nic.model == Nic::Model::e1000e;
  Opts device(emulated ? "e1000e" : "virtio-net-pci");
  device.set("id", fmt::format("net{}", context.index)).set("netdev", fmt::format("net{}-host", context.index));
  set_place(nic, device, context);
  device.set("mac", choice.mac);
  if (!emulated) device.set("packed", choice.packed);
  if (choice.queues > 1) device.set("mq", true).set("vectors", 2 * choice.queues + 2);
  if (choice.mtu && !emulated) device.set("host_mtu", *choice.mtu);
  if (nic.rx_queue_size) device.set("rx_queue_size", *nic.rx_queue_size);
  if (nic.tx_queue_size) device.set("tx_queue_size", *nic.tx_queue_size);
  if (nic.rss) device.set("rss", true);
  if (nic.hash) device.set("hash", true);
  if (!context.boots_from_net) device.set("romfile", "");
  if (context.boot_base) device.set("bootindex", *context.boot_base + context.index + 1);
  context.args.add("-device", device,
                   choice.queues > 1 ? fmt::format("{} queue pairs; vectors = 2 x {} + config + control", choice.queues,
                                                   choice.queues)
                   : emulated        ? "an Intel card, which every guest has a driver for"
                                     : "one queue pair",
                   nic.queues ? context.origin("queues") : "guide 001");
}

}  // namespace launcher::devices
