// VLANs of a bridge's port (rtnetlink, family AF_BRIDGE; the kernel's net/bridge/br_netlink.c).
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "launcher/host/fd.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/host/netlink.hpp"
#include "launcher/host/vf_mac.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline host {

namespace {

NetlinkMessage vlan_message(std::uint16_t type, unsigned port, unsigned vlan, std::uint16_t flags) {
  ifinfomsg link{};
  link.ifi_family = AF_BRIDGE;
  link.ifi_index = static_cast<int>(port);
  NetlinkMessage message(type, 0, link);
  message.nest(IFLA_AF_SPEC, [&] {
    message.add_value(IFLA_BRIDGE_VLAN_INFO, bridge_vlan_info{flags, static_cast<std::uint16_t>(vlan)});
  });
  return message;
}

}  // namespace

// A port that joins is given the bridge's default_pvid; beside ours the guest would still hear that network.
void LinuxNetLinks::set_port_vlan(const std::string& port, const std::string& bridge, unsigned vlan) {
  const unsigned index = if_nametoindex(port.c_str());
  if (index == 0) refuse("find " + port);
  const auto given = topology::Sysfs{}.read_number("/sys/class/net/" + bridge + "/bridge/default_pvid").value_or(0);
  if (given != 0 && given != vlan)
    send_to_kernel(vlan_message(RTM_DELLINK, index, static_cast<unsigned>(given), 0), "VLANs of " + port);
  send_to_kernel(vlan_message(RTM_SETLINK, index, vlan, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED),
                 "VLAN of " + port);
}

void LinuxNetLinks::set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) {
  launcher::set_vf_mac(interface, vf, mac);
}

void LinuxNetLinks::set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) {
  launcher::set_vf_port(interface, vf, port);
}

}  // namespace launcher::host
