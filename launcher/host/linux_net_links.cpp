// The verbs of networks on this machine: /dev/net/tun and interface ioctls for taps, netlink for macvtaps and rates.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "launcher/host/device_rules.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/host/netlink.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline host {

namespace {

// For the ioctls of interfaces.
class InterfaceSocket {
 public:
  int fd() const { return fd_.get(); }

 private:
  Fd fd_ = opened_or_refuse(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
};

ifreq request_for(const std::string& interface) {
  ifreq request{};
  if (interface.empty() || interface.size() >= IFNAMSIZ) {
    throw std::invalid_argument("'" + interface + "' is no interface name (1 to 15 characters)");
  }
  std::memcpy(request.ifr_name, interface.data(), interface.size());
  return request;
}

// A queue of a tap, or of a macvtap, which has a device node of its own.
Fd open_queue(const std::string& name, int flags, const std::string& device = "/dev/net/tun") {
  Fd fd(open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) refuse_to_open(device, errno);
  ifreq request = request_for(name);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  if (ioctl(fd.get(), TUNSETIFF, &request) < 0) refuse("tap " + name);
  return fd;
}

std::vector<Fd> open_queues(const std::string& name, std::size_t queues, int first_flags, int flags) {
  std::vector<Fd> fds;
  for (std::size_t i = 0; i < queues; ++i) fds.push_back(open_queue(name, i == 0 ? first_flags : flags));
  return fds;
}

std::array<std::uint8_t, ETH_ALEN> bytes_of_mac(const std::string& mac) {
  std::array<unsigned, ETH_ALEN> parts{};
  if (std::sscanf(mac.c_str(), "%x:%x:%x:%x:%x:%x", &parts[0], &parts[1], &parts[2], &parts[3], &parts[4], &parts[5]) !=
      ETH_ALEN)
    throw std::invalid_argument("'" + mac + "' is no MAC address");
  std::array<std::uint8_t, ETH_ALEN> bytes{};
  std::transform(parts.begin(), parts.end(), bytes.begin(),
                 [](unsigned part) { return static_cast<std::uint8_t>(part); });
  return bytes;
}

void set_address(const std::string& interface, const std::string& mac) {
  const InterfaceSocket socket;
  ifreq request = request_for(interface);
  if (ioctl(socket.fd(), SIOCGIFHWADDR, &request) < 0) refuse("address of " + interface);
  const auto bytes = bytes_of_mac(mac);
  std::memcpy(request.ifr_hwaddr.sa_data, bytes.data(), bytes.size());
  if (ioctl(socket.fd(), SIOCSIFHWADDR, &request) < 0) refuse("address of " + interface);
}

// A bridge without an address of its own takes the lowest of its ports: a tap must not change it as VMs come and go.
void make_address_high(const std::string& tap) {
  const InterfaceSocket socket;
  ifreq request = request_for(tap);
  if (ioctl(socket.fd(), SIOCGIFHWADDR, &request) < 0) refuse("address of " + tap);
  request.ifr_hwaddr.sa_data[0] = static_cast<char>(0xfe);
  if (ioctl(socket.fd(), SIOCSIFHWADDR, &request) < 0) refuse("address of " + tap);
}

int index_of(const std::string& interface) {
  const InterfaceSocket socket;
  ifreq request = request_for(interface);
  if (ioctl(socket.fd(), SIOCGIFINDEX, &request) < 0) refuse("find " + interface);
  return request.ifr_ifindex;
}

std::uint32_t macvlan_mode(const std::string& mode) {
  if (mode == "private") return MACVLAN_MODE_PRIVATE;
  if (mode == "vepa") return MACVLAN_MODE_VEPA;
  if (mode == "bridge") return MACVLAN_MODE_BRIDGE;
  if (mode == "passthru") return MACVLAN_MODE_PASSTHRU;
  throw std::invalid_argument("'" + mode + "' is no mode of a macvtap");
}

void delete_link(const std::string& name) {
  ifinfomsg header{};
  header.ifi_index = index_of(name);
  send_to_kernel(NetlinkMessage(RTM_DELLINK, 0, header), "remove " + name);
}

// Bytes a second, for a scheduler's struct (32 bits) and beside it (64 bits).
tc_ratespec ratespec(std::uint64_t bytes) {
  tc_ratespec rate{};
  rate.linklayer = TC_LINKLAYER_ETHERNET;
  rate.rate = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, ~0U));
  return rate;
}

// Ten milliseconds' worth, and never less than two of the largest packets that a guest's TCP hands over.
std::uint32_t burst_of(std::uint64_t bytes) {
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(bytes / 100, 128 * 1024, 1u << 30));
}

// The kernel counts a police's burst in ticks of 64 ns.
std::uint32_t ticks(std::uint64_t bytes, std::uint64_t rate) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes * (1'000'000'000 / 64) / rate, ~0U));
}

tcmsg scheduler(const std::string& interface, std::uint32_t parent, std::uint32_t handle) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = index_of(interface);
  header.tcm_parent = parent;
  header.tcm_handle = handle;
  return header;
}

// What leaves through the interface waits in a token bucket filter for its turn, at most 50 ms.
void shape(const std::string& interface, std::uint64_t bytes) {
  NetlinkMessage message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, scheduler(interface, TC_H_ROOT, 0));
  message.add(TCA_KIND, "tbf");
  message.nest(TCA_OPTIONS, [&] {
    tc_tbf_qopt options{};
    options.rate = ratespec(bytes);
    options.limit = burst_of(bytes) + static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes / 20, 1u << 30));
    options.buffer = ticks(burst_of(bytes), bytes);
    message.add_value(TCA_TBF_PARMS, options);
    if (bytes > ~0U) message.add_value(TCA_TBF_RATE64, bytes);
    message.add_value(TCA_TBF_BURST, burst_of(bytes));
  });
  send_to_kernel(std::move(message), "limit what leaves " + interface);
}

// What comes in cannot wait: what is above the rate is dropped, and TCP slows down.
void police(const std::string& interface, std::uint64_t bytes) {
  const std::string what = "limit what enters " + interface + " (modules sch_ingress, cls_matchall, act_police)";
  constexpr std::uint32_t ingress = 0xffff0000;
  NetlinkMessage queue(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, scheduler(interface, TC_H_INGRESS, ingress));
  queue.add(TCA_KIND, "ingress");
  send_to_kernel(std::move(queue), what);
  tcmsg header = scheduler(interface, ingress, 0);
  header.tcm_info = TC_H_MAKE(1u << 16, __builtin_bswap16(ETH_P_ALL));  // priority 1, every protocol
  NetlinkMessage filter(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, header);
  filter.add(TCA_KIND, "matchall");
  filter.nest(TCA_OPTIONS, [&] {
    filter.nest(TCA_MATCHALL_ACT, [&] {
      filter.nest(1, [&] {
        filter.add(TCA_ACT_KIND, "police");
        filter.nest(TCA_ACT_OPTIONS, [&] {
          tc_police options{};
          options.action = TC_POLICE_SHOT;
          options.rate = ratespec(bytes);
          options.rate.cell_log = 8;  // of the table that the kernel wants to see and, knowing the link layer, not use
          options.burst = ticks(burst_of(bytes), bytes);
          options.mtu = ~0U;
          filter.add_value(TCA_POLICE_TBF, options);
          filter.add_value(TCA_POLICE_RATE, std::array<std::uint32_t, 256>{});
          if (bytes > ~0U) filter.add_value(TCA_POLICE_RATE64, bytes);
        });
      });
    });
  });
  send_to_kernel(std::move(filter), what);
}

}  // namespace

bool LinuxNetLinks::has_interface(const std::string& name) {
  return topology::Sysfs{}.exists("/sys/class/net/" + name);
}

std::vector<Fd> LinuxNetLinks::make_tap(const std::string& name, std::size_t queues) {
  const int multi = queues > 1 ? IFF_MULTI_QUEUE : 0;
  std::vector<Fd> fds = open_queues(name, queues, multi | IFF_TUN_EXCL, multi);
  make_address_high(name);
  return fds;
}

std::vector<Fd> LinuxNetLinks::open_tap(const std::string& name, std::size_t queues, bool multi_queue) {
  const int multi = multi_queue ? IFF_MULTI_QUEUE : 0;
  return open_queues(name, queues, multi, multi);
}

void LinuxNetLinks::set_mtu(const std::string& interface, unsigned mtu) {
  const InterfaceSocket socket;
  ifreq request = request_for(interface);
  request.ifr_mtu = static_cast<int>(mtu);
  if (ioctl(socket.fd(), SIOCSIFMTU, &request) < 0) refuse("MTU of " + interface);
}

void LinuxNetLinks::join_bridge(const std::string& interface, const std::string& bridge) {
  const InterfaceSocket socket;
  ifreq port = request_for(interface);
  if (ioctl(socket.fd(), SIOCGIFINDEX, &port) < 0) refuse("find " + interface);
  ifreq request = request_for(bridge);
  request.ifr_ifindex = port.ifr_ifindex;
  if (ioctl(socket.fd(), SIOCBRADDIF, &request) < 0) refuse("attach " + interface + " to bridge " + bridge);
}

void LinuxNetLinks::set_up(const std::string& interface) {
  const InterfaceSocket socket;
  ifreq request = request_for(interface);
  if (ioctl(socket.fd(), SIOCGIFFLAGS, &request) < 0) refuse("flags of " + interface);
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (ioctl(socket.fd(), SIOCSIFFLAGS, &request) < 0) refuse("bring up " + interface);
}

void LinuxNetLinks::drop_tap(const std::string& name) {
  // A tap of ours lives as long as its fds, so this only matters when an fd outlived its owner: attach alone, and let
  // go of the last queue. Not there (ENODEV on a look-up): nothing to do.
  // A child that was forked when its parent was killed holds it until it sees so, a moment later: that long we wait.
  const InterfaceSocket socket;
  ifreq request = request_for(name);
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (ioctl(socket.fd(), SIOCGIFINDEX, &request) < 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("tap " + name + " is still there: some process holds it open");
}

std::vector<Fd> LinuxNetLinks::make_macvtap(const std::string& name, const std::string& over, const std::string& mode,
                                            const std::string& mac, std::size_t queues) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request_for(name);  // is it a name?
  message.add(IFLA_IFNAME, name);
  message.add_value(IFLA_LINK, index_of(over));
  message.add_value(IFLA_ADDRESS, bytes_of_mac(mac));
  message.nest(IFLA_LINKINFO, [&] {
    message.add(IFLA_INFO_KIND, "macvtap");
    message.nest(IFLA_INFO_DATA, [&] { message.add_value(IFLA_MACVLAN_MODE, macvlan_mode(mode)); });
  });
  send_to_kernel(std::move(message), "macvtap " + name + " over " + over);
  std::vector<Fd> fds;
  try {
    const std::string device = "/dev/tap" + std::to_string(index_of(name));
    // where udev makes the node it takes a moment; devtmpfs has it at once
    for (int attempt = 0; attempt < 200 && access(device.c_str(), F_OK) < 0; ++attempt)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const int multi = queues > 1 ? IFF_MULTI_QUEUE : 0;
    for (std::size_t i = 0; i < queues; ++i) fds.push_back(open_queue(name, multi, device));
    if (mode == "passthru") set_address(name, mac);  // it was given that of the interface below, which follows
  } catch (...) {
    fds.clear();
    delete_link(name);
    throw;
  }
  return fds;
}

void LinuxNetLinks::drop_macvtap(const std::string& name, const std::string& mac) {
  const topology::Sysfs sysfs;
  const std::string link = "/sys/class/net/" + name;
  if (!sysfs.exists(link + "/macvtap")) return;  // gone, or of another kind: not ours
  const std::string found = sysfs.read(link + "/address").value_or("");
  bool of_lower = false;  // killed before a passthru one was given its address
  for (const std::string& entry : sysfs.list(link))
    of_lower |= entry.starts_with("lower_") && sysfs.read(fmt::format("{}/{}/address", link, entry)) == found;
  if (found != mac && !of_lower) return;
  delete_link(name);
}

void LinuxNetLinks::limit_rate(const std::string& interface, std::uint64_t out, std::uint64_t in) {
  if (out != 0) shape(interface, out / 8);
  if (in != 0) police(interface, in / 8);
}

}  // namespace launcher::host
