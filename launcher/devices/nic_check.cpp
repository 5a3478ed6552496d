// What this host or this QEMU cannot do for a network card. The rule: what was asked for is refused with its key, what
// was found and how to mend it; nothing is lowered here.
#include <fmt/format.h>

#include "launcher/devices/device_context.hpp"
#include "launcher/devices/nic.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

namespace {

void check_tap(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  if (!facts.bridge_is.empty())
    context.problem(
        "bridge", fmt::format("'{}' is {}, but no Linux bridge; wanted one", nic.bridge, facts.bridge_is),
        facts.bridge_is.ends_with("Open vSwitch")
            ? fmt::format("make a tap, `ip tuntap add vm0 mode tap multi_queue && ovs-vsctl add-port {} vm0`, "
                          "and set tap = \"vm0\" in place of bridge",
                          nic.bridge)
        : facts.bridge_is == "a tap"
            ? fmt::format("set tap = \"{}\" in place of bridge", nic.bridge)
            : fmt::format("name the bridge that it is a port of, or set over = \"{}\" (macvtap) in place of "
                          "bridge",
                          nic.bridge));
  else if (!nic.bridge.empty() && !facts.bridge_exists)
    context.problem(
        "bridge", fmt::format("this host has no bridge '{}'", nic.bridge),
        fmt::format("make it with `ip link add {0} type bridge && ip link set {0} up`, or use mode = \"user\"",
                    nic.bridge));
  if (nic.vlan && facts.bridge_exists && !facts.bridge_filters)
    context.problem(
        "vlan",
        fmt::format("{}, but bridge {} does not tell VLANs apart (vlan_filtering is off)", *nic.vlan, nic.bridge),
        fmt::format("run `ip link set {0} type bridge vlan_filtering 1` and give the port that leads out this "
                    "VLAN, `bridge vlan add dev PORT vid {1}`; or make a bridge on the VLAN's own interface",
                    nic.bridge, *nic.vlan));
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
  if (nic.mtu && facts.link_mtu != 0 && *nic.mtu > facts.link_mtu)
    context.problem("mtu",
                    fmt::format("{}, but bridge {} passes at most {} bytes; larger packets would be lost", *nic.mtu,
                                nic.bridge, facts.link_mtu),
                    fmt::format("run `ip link set {} mtu {}`, or lower mtu", nic.bridge, *nic.mtu));
}

void check_macvtap(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  if (!facts.over_exists)
    context.problem("over", fmt::format("this host has no interface '{}'", nic.over),
                    "`ip -br link` lists those that it has");
  else if (facts.over_is_port)
    context.problem("over",
                    fmt::format("'{}' is a port of a bridge or bond, and no macvtap can be made on such", nic.over),
                    "name the bridge here, or set mode = \"tap\" with bridge = \"...\"");
  if (!context.root)
    context.problem("over", "making a macvtap needs root; this is an ordinary user",
                    "run vmrun as root, or use mode = \"passt\" or \"user\"");
  if (nic.mtu && facts.link_mtu != 0 && *nic.mtu > facts.link_mtu)
    context.problem("mtu", fmt::format("{}, but {} passes at most {} bytes", *nic.mtu, nic.over, facts.link_mtu),
                    fmt::format("run `ip link set {} mtu {}`, or lower mtu", nic.over, *nic.mtu));
}

void check_socket(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  if (!facts.socket_misfit.empty())
    context.problem("socket", facts.socket_misfit + "; wanted the socket on which the vhost-user process listens",
                    "start that process first, or set server = true to have QEMU listen for it");
  else if (!facts.socket_open_to_all && facts.socket_uid != context.uid)
    context.problem("socket",
                    fmt::format("'{}' is uid {}'s alone, and QEMU connects to it as uid {}", printable(nic.socket),
                                facts.socket_uid, context.uid),
                    "set its mode to 0777 (the directory above guards it), set server = true, or name that user in "
                    "/etc/vmrun/host.toml");
}

void check_ports(const Nic& nic, const Nic::Facts& facts, const DeviceContext& context) {
  for (std::size_t i = 0; i < nic.forward.size(); ++i) {
    const Forward& one = nic.forward[i];
    if (i < facts.port_holders.size() && !facts.port_holders[i].empty())
      context.problem(fmt::format("forward[{}]", i),
                      fmt::format("{} has {} port {} of the host; wanted one that is free", facts.port_holders[i],
                                  one.udp ? "UDP" : "TCP", one.host_port),
                      "choose another port, or end that process");
    if (one.host_port >= facts.first_free_port) continue;
    context.problem(
        fmt::format("forward[{}]", i),
        fmt::format("port {} of the host needs rights that the VM's process has not; wanted one from {} on",
                    one.host_port, facts.first_free_port),
        fmt::format("choose a higher port, or run `sysctl net.ipv4.ip_unprivileged_port_start={}`", one.host_port));
  }
}

void check_qemu(const Nic& nic, const NicChoice& choice, const DeviceContext& context) {
  const auto lacks = [&](const char* key, const std::string& feature, const std::string& what) {
    if (!context.qemu.has(feature))
      context.problem(key, fmt::format("QEMU {} has no {}", context.qemu.version, what), fmt::format("remove {}", key));
  };
  if (nic.packed == true && choice.vhost)
    context.problem("packed",
                    "true, but kernel vhost serves this card and has no packed ring: the guest would get a split one",
                    "set vhost = false, or remove packed");
  if (nic.packed == true) lacks("packed", "virtio-net-pci.packed", "packed virtqueues for virtio-net");
  for (const auto& [key, on] : {std::pair("rss", nic.rss), {"hash", nic.hash}}) {
    if (!on) continue;
    lacks(key, std::string("virtio-net-pci.") + key, fmt::format("{} for virtio-net", key));
    if (choice.vhost && nic.vhost != true)  // true: said with the keys
      context.problem(key, fmt::format("true, but kernel vhost serves this card and has no {}", key),
                      fmt::format("set vhost = false, or remove {}", key));
  }
  if (nic.rss && choice.queues == 1)
    context.problem("rss", "true, but this card gets one queue; wanted several, over which packets are spread",
                    "set queues, or remove rss");
  if (nic.rx_queue_size) lacks("rx_queue_size", "virtio-net-pci.rx_queue_size", "ring size for virtio-net");
  if (nic.tx_queue_size) lacks("tx_queue_size", "virtio-net-pci.tx_queue_size", "ring size for virtio-net");
  if (nic.mode == Nic::Mode::passt) lacks("mode", "netdev.stream", "stream network, by which passt is reached");
  if (nic.mode == Nic::Mode::vhost_user) lacks("mode", "netdev.vhost-user", "vhost-user network");
  if (nic.mode == Nic::Mode::vdpa) lacks("mode", "netdev.vhost-vdpa", "vDPA network");
}

}  // namespace

void check(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, const DeviceContext& context) {
  if (nic.mode == Nic::Mode::tap) check_tap(nic, facts, context);
  if (nic.mode == Nic::Mode::macvtap) check_macvtap(nic, facts, context);
  if (nic.mode == Nic::Mode::passt && facts.passt.empty())
    context.problem(
        "mode", "\"passt\", but this host has no passt",
        "install it (Debian: apt install passt), set passt in /etc/vmrun/host.toml, or use mode = \"user\"");
  if (nic.mode == Nic::Mode::vhost_user && !nic.server) check_socket(nic, facts, context);
  if (nic.mode == Nic::Mode::vdpa && !facts.device_misfit.empty())
    context.problem(
        "device", facts.device_misfit + "; wanted a vDPA device bound to vhost_vdpa",
        "run `modprobe vhost_vdpa`; `vdpa dev show` lists the devices, /dev/vhost-vdpa-* those to be given");
  check_ports(nic, facts, context);
  if (nic.is_tap() && nic.vhost == true && !facts.vhost_available)
    context.problem(
        "vhost",
        "true, but /dev/vhost-net cannot be opened; wanted the vhost_net module loaded and the right to open it",
        "run `modprobe vhost_net`, or set vhost = \"auto\"");
  if (nic.poll_us && !choice.vhost && nic.vhost != true)
    context.problem("poll_us",
                    "it is the vhost worker that polls, and this card gets none: /dev/vhost-net cannot be opened",
                    "run `modprobe vhost_net`, or remove poll_us");
  check_qemu(nic, choice, context);
}

}  // namespace launcher::devices
