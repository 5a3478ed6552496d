// The way to a guest's sshd that works now: vsock, a forwarded port, or the guest's own address. The rule: a way counts when an sshd has
// said its first words there, since who forwards a port takes a connection before the guest does.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launcher/guest/access.hpp"
#include "launcher/host/fd.hpp"

namespace launcher::inline guest {

struct Route {
  std::optional<std::uint32_t> cid;  // by vsock
  Endpoint endpoint;                 // or by TCP
  std::string words() const;         // "vsock CID 5", "127.0.0.1 port 2222"
};

// In the order in which they are tried; the guest's addresses by its agent and by this host's neighbours.
std::vector<Route> routes(const Access& access, const std::filesystem::path& run_dir);

// An emulated sshd needs seconds for its first words; and it counts those who leave before, and turns others away (MaxStartups).
inline constexpr std::chrono::seconds patience_with_sshd{20};

// Connected; empty: not (within that time). That somebody takes the connection says little: passt and QEMU do so for a guest that is not up.
Fd dial(const Route& route, std::chrono::milliseconds patience);

// An sshd there says its first words within that time; to a caller of its own, who leaves then.
bool sshd_answers(const Route& route, std::chrono::milliseconds patience);

// Tries all of them again and again. between: called before each round, and may throw to end it.
std::optional<Route> find_route(const Access& access, const std::filesystem::path& run_dir,
                                std::chrono::milliseconds limit, const std::function<void()>& between);

// "IP HW FLAGS MAC ...": /proc/net/arp, a line for each neighbour. Complete ones with one of these MACs.
std::vector<std::string> neighbours(std::string_view arp, const std::vector<std::string>& macs);

}  // namespace launcher::guest
