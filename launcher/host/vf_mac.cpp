#include "launcher/host/vf_mac.hpp"

#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "launcher/host/fd.hpp"

namespace launcher::inline host {

namespace {

// A request about one interface, its attributes appended one by one (rtnetlink(7)).
class Request {
 public:
  Request(unsigned short type, unsigned short flags, int interface) : bytes_(NLMSG_SPACE(sizeof(ifinfomsg))) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | flags);
    ifinfomsg link{};
    link.ifi_family = AF_UNSPEC;
    link.ifi_index = interface;
    std::memcpy(bytes_.data(), &header, sizeof header);
    std::memcpy(bytes_.data() + NLMSG_HDRLEN, &link, sizeof link);
  }
  std::size_t begin(unsigned short type) {
    const std::size_t at = bytes_.size();
    const rtattr attribute{0, type};
    bytes_.resize(at + RTA_LENGTH(0));
    std::memcpy(bytes_.data() + at, &attribute, sizeof attribute);
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<unsigned short>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void add(unsigned short type, const void* data, std::size_t size) {
    const std::size_t at = begin(type);
    const std::size_t body = bytes_.size();
    bytes_.resize(body + size);
    std::memcpy(bytes_.data() + body, data, size);
    end(at);
  }
  // The kernel's answer, whole.
  std::vector<char> ask() {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    const Fd fd = opened_or_refuse(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "netlink socket");
    std::vector<char> answer(1 << 18);  // 256 functions of 300 bytes each fit
    const bool sent = send(fd.get(), bytes_.data(), bytes_.size(), 0) == static_cast<ssize_t>(bytes_.size());
    const ssize_t got = sent ? recv(fd.get(), answer.data(), answer.size(), 0) : -1;
    if (got < static_cast<ssize_t>(NLMSG_HDRLEN)) refuse("netlink");
    answer.resize(static_cast<std::size_t>(got));
    return answer;
  }

 private:
  std::vector<char> bytes_;
};

template <class T>
T at(const char* bytes) {
  T value{};
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// f(type, data, size) for each attribute in a run of them.
template <class F>
void each(const char* data, std::size_t size, const F& f) {
  while (size >= sizeof(rtattr)) {
    const auto attribute = at<rtattr>(data);
    if (attribute.rta_len < sizeof(rtattr) || attribute.rta_len > size) return;
    f(attribute.rta_type & NLA_TYPE_MASK, data + RTA_LENGTH(0), attribute.rta_len - RTA_LENGTH(0));
    const std::size_t step = std::min<std::size_t>(size, RTA_ALIGN(attribute.rta_len));
    data += step;
    size -= step;
  }
}

std::string text_of(const ifla_vf_mac& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac.mac[0], mac.mac[1], mac.mac[2], mac.mac[3],
                     mac.mac[4], mac.mac[5]);
}

}  // namespace

namespace {

// f(IFLA_VF_..., data, size) for each value of each function, with start() before those of one; false: the driver has no such list.
template <class Start, class F>
bool each_of_vfs(const std::string& interface, const Start& start, const F& f) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return false;
  Request request(RTM_GETLINK, 0, static_cast<int>(index));
  const std::uint32_t with_vfs = RTEXT_FILTER_VF;
  request.add(IFLA_EXT_MASK, &with_vfs, sizeof with_vfs);
  const std::vector<char> answer = request.ask();
  constexpr std::size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(ifinfomsg));
  if (at<nlmsghdr>(answer.data()).nlmsg_type != RTM_NEWLINK || answer.size() < head) return false;
  bool known = false;
  each(answer.data() + head, answer.size() - head, [&](int type, const char* list, std::size_t size) {
    if (type != IFLA_VFINFO_LIST) return;  // there, even if empty, where the driver knows its functions
    known = true;
    each(list, size, [&](int, const char* info, std::size_t info_size) {
      start();
      each(info, info_size, f);
    });
  });
  return known;
}

std::optional<bool> as_flag(std::uint32_t setting) {
  if (setting > 1) return std::nullopt;  // ~0: the driver has not said
  return setting == 1;
}

// One value of one function.
template <class T>
void set_of_vf(const std::string& interface, unsigned short attribute, const T& value, const std::string& what) {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) refuse("find " + interface);
  Request request(RTM_SETLINK, NLM_F_ACK, static_cast<int>(index));
  const std::size_t list = request.begin(IFLA_VFINFO_LIST);
  const std::size_t info = request.begin(IFLA_VF_INFO);
  request.add(attribute, &value, sizeof value);
  request.end(info);
  request.end(list);
  const std::vector<char> answer = request.ask();
  if (at<nlmsghdr>(answer.data()).nlmsg_type != NLMSG_ERROR || answer.size() < NLMSG_HDRLEN + sizeof(int)) return;
  const int error = -at<int>(answer.data() + NLMSG_HDRLEN);
  if (error != 0) refuse(what, error);
}

}  // namespace

std::optional<std::vector<std::string>> vf_macs(const std::string& interface) {
  std::vector<std::string> macs;
  const bool known = each_of_vfs(
      interface, [] {},
      [&macs](int what, const char* data, std::size_t size) {
        if (what == IFLA_VF_MAC && size >= sizeof(ifla_vf_mac)) macs.push_back(text_of(at<ifla_vf_mac>(data)));
      });
  return known ? std::optional(std::move(macs)) : std::nullopt;
}

std::vector<VfPort> vf_ports(const std::string& interface) {
  std::vector<VfPort> ports;
  each_of_vfs(
      interface, [&ports] { ports.emplace_back(); },
      [&ports](int what, const char* data, std::size_t size) {
        VfPort& port = ports.back();
        if (what == IFLA_VF_VLAN && size >= sizeof(ifla_vf_vlan)) port.vlan = at<ifla_vf_vlan>(data).vlan;
        if (what == IFLA_VF_TRUST && size >= sizeof(ifla_vf_trust))
          port.trust = as_flag(at<ifla_vf_trust>(data).setting);
        if (what == IFLA_VF_SPOOFCHK && size >= sizeof(ifla_vf_spoofchk))
          port.spoof_check = as_flag(at<ifla_vf_spoofchk>(data).setting);
      });
  return ports;
}

void set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) {
  const std::string of = fmt::format("virtual function {} of {}", vf, interface);
  if (port.vlan) set_of_vf(interface, IFLA_VF_VLAN, ifla_vf_vlan{vf, *port.vlan, 0}, "VLAN of " + of);
  if (port.trust) set_of_vf(interface, IFLA_VF_TRUST, ifla_vf_trust{vf, *port.trust ? 1u : 0u}, "trust of " + of);
  if (port.spoof_check)
    set_of_vf(interface, IFLA_VF_SPOOFCHK, ifla_vf_spoofchk{vf, *port.spoof_check ? 1u : 0u}, "spoof check of " + of);
}

void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) {
  ifla_vf_mac value{};
  value.vf = vf;
  if (std::sscanf(mac.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &value.mac[0], &value.mac[1], &value.mac[2],
                  &value.mac[3], &value.mac[4], &value.mac[5]) != 6)
    throw std::invalid_argument("'" + mac + "' is no MAC address");
  set_of_vf(interface, IFLA_VF_MAC, value,
            fmt::format("MAC address {} of virtual function {} of {}", mac, vf, interface));
}

}  // namespace launcher::host
