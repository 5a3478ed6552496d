#include "launcher/host/netlink.hpp"

#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "launcher/host/fd.hpp"

namespace launcher::inline host {

namespace {

Fd netlink_socket(const std::string& what) {
  Fd fd = opened_or_refuse(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), what);
  const int on = 1;  // the kernel's own words beside the errno
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  return fd;
}

// "" where the kernel has none. The attributes follow the header of the request, which is all that comes back of it.
std::string words_of(const std::byte* message, std::size_t size) {
  nlmsghdr head{};
  std::memcpy(&head, message, sizeof head);
  if ((head.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  nlmsghdr request{};
  std::memcpy(&request, message + sizeof(nlmsghdr) + sizeof(int), sizeof request);
  const bool capped = (head.nlmsg_flags & NLM_F_CAPPED) != 0;
  std::size_t at = sizeof(nlmsghdr) + sizeof(int) + (capped ? sizeof request : request.nlmsg_len);
  for (nlattr attribute{}; at + sizeof attribute <= size; at += NLA_ALIGN(attribute.nla_len)) {
    std::memcpy(&attribute, message + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > size) break;
    if ((attribute.nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
      return {reinterpret_cast<const char*>(message + at + sizeof attribute), attribute.nla_len - sizeof attribute - 1};
  }
  return {};
}

}  // namespace

void NetlinkMessage::append(const void* data, std::size_t size) {
  const auto* from = static_cast<const std::byte*>(data);
  if (size > 0) bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkMessage::add(std::uint16_t attribute, const void* data, std::size_t size) {
  nlattr head{};
  head.nla_type = attribute;
  head.nla_len = static_cast<std::uint16_t>(sizeof head + size);
  append(&head, sizeof head);
  append(data, size);
}

void NetlinkMessage::add(std::uint16_t attribute, std::string_view text) {
  const std::string ended(text);
  add(attribute, ended.c_str(), ended.size() + 1);
}

void NetlinkMessage::end_nest(std::size_t start) {
  const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
  std::memcpy(bytes_.data() + start, &length, sizeof length);  // nla_len comes first
}

void send_to_kernel(NetlinkMessage message, const std::string& what) {
  const Fd socket = netlink_socket(what);
  const auto length = static_cast<std::uint32_t>(message.bytes_.size());
  std::memcpy(message.bytes_.data(), &length, sizeof length);  // nlmsg_len comes first
  if (send(socket.get(), message.bytes_.data(), message.bytes_.size(), 0) < 0)
    throw std::system_error(errno, std::generic_category(), what);
  std::array<std::byte, 8192> answer{};
  ssize_t got = 0;
  do {
    got = recv(socket.get(), answer.data(), answer.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0) throw std::system_error(errno, std::generic_category(), what);
  nlmsghdr head{};
  int error = 0;
  if (static_cast<std::size_t>(got) < sizeof head + sizeof error) throw std::runtime_error(what + ": a short answer");
  std::memcpy(&head, answer.data(), sizeof head);
  std::memcpy(&error, answer.data() + sizeof head, sizeof error);
  if (head.nlmsg_type != NLMSG_ERROR) throw std::runtime_error(what + ": an answer of an unknown kind");
  if (error == 0) return;
  const std::string words = words_of(answer.data(), static_cast<std::size_t>(got));
  throw std::system_error(-error, std::generic_category(), words.empty() ? what : what + " (" + words + ")");
}

}  // namespace launcher::host
