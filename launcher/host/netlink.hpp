// Requests to the kernel's routing netlink: a message with nested attributes, sent, and its acknowledgement awaited. The
// rule: only what ioctls on an interface cannot say goes this way (macvtaps, rate limits).
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace launcher::inline host {

// nlmsghdr, the family's header, attributes; each padded to four bytes.
class NetlinkMessage {
 public:
  template <class Header>
  NetlinkMessage(std::uint16_t type, std::uint16_t flags, const Header& header) {
    nlmsghdr head{};
    head.nlmsg_type = type;
    head.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST | NLM_F_ACK);
    append(&head, sizeof head);
    append(&header, sizeof header);
  }
  void add(std::uint16_t attribute, const void* data, std::size_t size);
  void add(std::uint16_t attribute, std::string_view text);  // with its final zero
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void add_value(std::uint16_t attribute, const T& value) { add(attribute, &value, sizeof value); }
  // The attributes that `fill` adds are within this one.
  template <class F>
  void nest(std::uint16_t attribute, const F& fill) {
    const std::size_t start = bytes_.size();
    add(static_cast<std::uint16_t>(attribute | NLA_F_NESTED), nullptr, 0);
    fill();
    end_nest(start);
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }  // its length filled in by send()

 private:
  friend void send_to_kernel(NetlinkMessage message, const std::string& what);
  void append(const void* data, std::size_t size);
  void end_nest(std::size_t start);
  std::vector<std::byte> bytes_;
};

// Throws std::system_error with the kernel's errno, and its words where it has some.
void send_to_kernel(NetlinkMessage message, const std::string& what);

}  // namespace launcher::host
