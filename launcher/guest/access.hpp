// How a running VM's guest can be reached, as its plan says. The rule: what was planned decides, not what the guest says of itself.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline guest {

struct Endpoint {
  std::string address;  // IPv4 or IPv6 without brackets
  unsigned port = 22;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct Access {
  std::string vm;
  std::string user;                  // whom [cloud_init] made; "": there is none
  std::string keys;                  // directory of the VM's ssh keys; "": it has none
  std::optional<std::uint32_t> cid;  // of its vsock
  std::vector<Endpoint> forwarded;   // ports of this host that lead to the guest's port 22
  std::vector<std::string> macs;     // in lower case
  bool agent = false;                // it has a channel for one
};

// Of a plan's record (plan.json). What cannot be read is left out.
Access access_of(const std::string& vm, const boost::json::value& plan);

}  // namespace launcher::guest
