// vhost, bridges and the host's network stack, as far as a guest's packets meet them.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "launcher/checks/concerns.hpp"

namespace launcher::inline checks {

namespace {

std::string net_path(const std::string& name, const char* file) {
  return fmt::format("/sys/class/net/{}/{}", name, file);
}

// The bridges in question: the VM's, else all.
std::vector<std::string> bridges(const Audit& audit) {
  std::vector<std::string> names;
  if (audit.vm) {
    for (const AuditedNic& nic : audit.vm->nics)
      if (!nic.bridge.empty() && std::find(names.begin(), names.end(), nic.bridge) == names.end())
        names.push_back(nic.bridge);
    return names;
  }
  for (const std::string& name : audit.sysfs().list("/sys/class/net"))
    if (audit.exists(net_path(name, "bridge"))) names.push_back(name);
  return names;
}

void vhost_net(const Audit& audit, Findings& findings) {
  if (audit.exists("/sys/module/vhost_net"))
    findings.ok("loaded", {"/sys/module/vhost_net"});
  else if (audit.exists("/dev/vhost-net"))
    findings.leave("not loaded yet", {"/sys/module/vhost_net", "/dev/vhost-net"},
                   "root's first open of /dev/vhost-net loads it");
  else
    findings.want(Level::warning, "neither loaded nor to be had through /dev/vhost-net",
                  {"/sys/module/vhost_net", "/dev/vhost-net"}, "vhost_net loaded", "modprobe vhost_net",
                  "`vhost_net` in /etc/modules-load.d/vmrun.conf");
}

void zero_copy(const Audit& audit, Findings& findings) {
  const std::string path = "/sys/module/vhost_net/parameters/experimental_zcopytx";
  const auto value = audit.number(path);
  if (!value) return;
  if (*value == 0)
    findings.leave("experimental_zcopytx = 0", {path},
                   "off by default since 2019: a packet that its receiver keeps holds up all that follow; between VMs "
                   "of a bridge it is copied anyway (and guide 001's path is /sys/module)");
  else
    findings.want(Level::advice, "experimental_zcopytx = 1", {path},
                  "0, except for one VM that sends large packets to a fast network",
                  module_now("vhost_net", "experimental_zcopytx=0"), "take the option out of /etc/modprobe.d");
}

void bridge_netfilter(const Audit& audit, Findings& findings) {
  const std::string dir = "/proc/sys/net/bridge/";
  if (!audit.exists(dir + "bridge-nf-call-iptables")) {
    findings.leave("br_netfilter is not loaded", {dir},
                   "guide 004 loads it and then turns it off; loading it is what makes bridged packets cost more, so "
                   "leave it out");
    return;
  }
  std::string on;
  Findings::Paths paths;
  for (const char* name : {"bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"}) {
    if (audit.number(dir + name).value_or(0) == 0) continue;
    on += (on.empty() ? "" : ", ") + std::string(name);
    paths.push_back(dir + name);
  }
  if (on.empty())
    findings.ok("loaded, and every bridge-nf-call is 0", {dir});
  else
    findings.want(Level::advice, fmt::format("{} = 1: each bridged packet passes the firewall's rules", on), paths,
                  "0, unless a container runtime or the firewall counts on it",
                  "for each: " + sysctl_now("net.bridge.bridge-nf-call-iptables", "0"),
                  sysctl_lasting("net.bridge.bridge-nf-call-iptables", "0") + "; or do not load br_netfilter");
}

// The largest of "min default max".
std::uint64_t last_number(const std::string& text) {
  std::istringstream in(text);
  std::uint64_t value = 0;
  while (in >> value) {
  }
  return value;
}

void socket_buffers(const Audit& audit, Findings& findings) {
  constexpr std::uint64_t wanted = 16'777'216, wanted_default = 1'048'576;
  const std::string core = "/proc/sys/net/core/", tcp = "/proc/sys/net/ipv4/";
  struct Limit {
    const char* key;
    std::string path;
    std::uint64_t wanted;
    const char* value;
  };
  const std::vector<Limit> limits = {{"net.core.rmem_max", core + "rmem_max", wanted, "16777216"},
                                     {"net.core.wmem_max", core + "wmem_max", wanted, "16777216"},
                                     {"net.core.rmem_default", core + "rmem_default", wanted_default, "1048576"},
                                     {"net.core.wmem_default", core + "wmem_default", wanted_default, "1048576"},
                                     {"net.ipv4.tcp_rmem", tcp + "tcp_rmem", wanted, "4096 1048576 16777216"},
                                     {"net.ipv4.tcp_wmem", tcp + "tcp_wmem", wanted, "4096 1048576 16777216"}};
  Findings::Paths paths;
  std::string small, now, lasting;
  for (const Limit& limit : limits) {
    const auto text = audit.text(limit.path);
    if (!text || last_number(*text) >= limit.wanted) continue;
    paths.push_back(limit.path);
    small += fmt::format("{}{} = {}", small.empty() ? "" : ", ", limit.key, *text);
    now += (now.empty() ? "" : "; ") + sysctl_now(limit.key, limit.value);
    lasting += fmt::format("{}{} = {}", lasting.empty() ? "" : ", ", limit.key, limit.value);
  }
  std::replace(small.begin(), small.end(), '\t', ' ');
  if (audit.text(core + "rmem_max") == std::nullopt) return;
  if (small.empty())
    findings.ok("as large as guide 004 has them", {core, tcp});
  else if (audit.vm && !audit.vm->user_net())
    findings.leave(small, paths,
                   "packets through a tap and a bridge are forwarded: they never enter a TCP socket of the host; set "
                   "these in the guest");
  else
    findings.want(Level::advice, small, paths, "maximum 16 MiB, default 1 MiB", now,
                  lasting + " in /etc/sysctl.d/90-vmrun.conf");
}

// /proc/net/softnet_stat: a line per CPU, hexadecimal; the second column counts what did not fit in the backlog.
std::uint64_t dropped_packets(const std::string& softnet) {
  std::uint64_t all = 0;
  std::istringstream in(softnet);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string handled, dropped;
    if (words >> handled >> dropped) all += std::strtoull(dropped.c_str(), nullptr, 16);
  }
  return all;
}

void backlog(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/net/core/netdev_max_backlog", counts = "/proc/net/softnet_stat";
  const auto value = audit.number(path);
  if (!value) return;
  const std::uint64_t dropped = dropped_packets(audit.text(counts).value_or(""));
  if (*value >= 5000)
    findings.ok(fmt::format("{} packets a CPU, {} dropped since boot", *value, dropped), {path, counts});
  else if (dropped == 0)
    findings.leave(fmt::format("{} packets a CPU", *value), {path, counts},
                   "not one packet was dropped for it since boot, so a longer queue changes nothing");
  else
    findings.want(Level::warning, fmt::format("{} packets a CPU, and {} were dropped", *value, dropped), {path, counts},
                  "5000", sysctl_now("net.core.netdev_max_backlog", "5000"),
                  sysctl_lasting("net.core.netdev_max_backlog", "5000"));
}

void listen_queue(const Audit& audit, Findings& findings) {
  const std::string path = "/proc/sys/net/core/somaxconn";
  const auto value = audit.number(path);
  if (!value) return;
  if (*value >= 4096)
    findings.leave(fmt::format("{}", *value), {path}, "it bounds servers on the host itself; guests have their own");
  else
    findings.want(Level::advice, fmt::format("{}: a server on the host refuses bursts of connections", *value), {path},
                  "4096 or more", sysctl_now("net.core.somaxconn", "65535"),
                  sysctl_lasting("net.core.somaxconn", "65535"));
}

void bridge_mtu(const Audit& audit, Findings& findings) {
  for (const std::string& bridge : bridges(audit)) {
    const std::string path = net_path(bridge, "mtu");
    const auto mtu = audit.number(path);
    if (!mtu) continue;
    std::uint64_t physical = 0;
    std::string differing;
    Findings::Paths paths = {path};
    for (const std::string& port : audit.sysfs().list(net_path(bridge, "brif"))) {
      const std::uint64_t of_port = audit.number(net_path(port, "mtu")).value_or(*mtu);
      if (audit.exists(net_path(port, "device"))) physical = physical == 0 ? of_port : std::min(physical, of_port);
      if (of_port != *mtu) {
        differing += fmt::format("{}{} has {}", differing.empty() ? "" : ", ", port, of_port);
        paths.push_back(net_path(port, "mtu"));
      }
    }
    if (!differing.empty())
      findings
          .want(Level::warning, fmt::format("MTU {}, but {}", *mtu, differing), paths,
                "one MTU for the bridge and all its ports", fmt::format("ip link set PORT mtu {}", *mtu),
                "the same MTU in the network configuration of each")
          .subject = bridge;
    else if (*mtu >= 9000)
      findings.ok(fmt::format("MTU {}, as all its ports", *mtu), paths).subject = bridge;
    else if (physical != 0)
      findings
          .leave(fmt::format("MTU {}", *mtu), paths,
                 "its network card has the same; 9000 helps only if every host of that network has it")
          .subject = bridge;
    else
      findings
          .want(Level::advice, fmt::format("MTU {}, and no network card in it", *mtu), paths,
                "9000 between host and guests, in the guest too (vmrun passes it on)",
                fmt::format("ip link set {} mtu 9000", bridge), "MTU of the bridge in the network configuration")
          .subject = bridge;
  }
}

// NICs and accelerators that could give guests functions of their own.
void sriov(const Audit& audit, Findings& findings) {
  for (const AuditedFunction& device : audit.pci()) {
    const unsigned kind = device.class_id >> 8;
    if (kind != 0x02 && kind != 0x0b && kind != 0x12) continue;
    const std::string most = device.path + "/sriov_totalvfs", made = device.path + "/sriov_numvfs";
    const auto total = audit.number(most), count = audit.number(made);
    const std::string driver = audit.sysfs().link_name(device.path + "/driver").value_or("");
    if (!total || *total == 0) {
      if (driver == "ena")
        findings
            .leave("no virtual functions", {device.path},
                   "the ENA adapter has none for guests, and no macvtap either; tap and bridge it is")
            .subject = device.address;
    } else if (count.value_or(0) > 0) {
      findings.ok(fmt::format("{} of {} virtual functions made", *count, *total), {made, most}).subject =
          device.address;
    } else {
      findings
          .want(
              Level::advice,
              fmt::format("{} virtual functions possible, none made{}", *total,
                          driver.empty() ? "" : " (driver " + driver + ")"),
              {made, most}, "functions for VMs that need a device's own speed", write_now("N", made),
              "`ACTION==\"add\", ATTR{sriov_totalvfs}==\"*\", ATTR{sriov_numvfs}=\"N\"` in a udev rule for this device")
          .subject = device.address;
    }
  }
}

}  // namespace

std::vector<Check> network_checks() {
  return {
      {"vhost-net", "network", "001 3.3.3 \"Enable vhost-net\", 003 \"virtio Optimization\", 004 \"1. Load vhost-net\"",
       "without it QEMU's main loop moves each packet", "VMs with a tap", "none", vhost_net, concerns::taps},
      {"zero-copy-transmit", "network", "001 3.3.3 \"Enable Zero Copy Transmission\"",
       "one slow receiver holds up the queue of the VM that sends", "VMs with a tap and vhost",
       "a copy of each packet sent", zero_copy, concerns::taps},
      {"bridge-netfilter", "network", "004 \"2. Load and Disable Bridge Netfilter\"",
       "a bridge forwards by address; a walk through iptables for each packet is extra", "VMs on a bridge",
       "rules that filter bridged traffic no longer do", bridge_netfilter, concerns::taps},
      {"socket-buffers", "network", "004 \"9. Kernel Network Buffers\"",
       "a TCP connection that ends on this host grows its window no further than this",
       "VMs in user mode; servers on the host", "memory per connection", socket_buffers, concerns::nets},
      {"backlog", "network", "004 \"9. Kernel Network Buffers\"",
       "packets that arrive faster than a CPU handles them are dropped", "VMs that receive in bursts",
       "latency of a longer queue", backlog, concerns::nets},
      {"listen-queue", "network", "004 \"9. Kernel Network Buffers\"", "connections wait there to be accepted",
       "servers on the host", "none", listen_queue, concerns::user_net},
      {"bridge-mtu", "network", "004 \"10. virbr0 MTU Adjustment\"",
       "a bridge takes the smallest MTU of its ports; larger packets cost less per byte", "VMs that move much data",
       "hosts beyond that cannot take such packets", bridge_mtu, concerns::taps},
      {"sriov", "network", "001 5, 003 \"I/O Virtualization Hierarchy\", 004 \"Non-Applied Optimizations\"",
       "a function of its own takes the host's stack out of the path", "VMs that need a device's own speed",
       "no migration; guest memory stays pinned", sriov, concerns::nets},
  };
}

}  // namespace launcher::checks
