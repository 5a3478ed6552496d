#include "launcher/guest/route.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <thread>

#include "launcher/guest/agent.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline guest {

namespace {

using Clock = std::chrono::steady_clock;
constexpr unsigned ssh_port = 22;

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_vm vsock;
};

socklen_t fill(const Route& route, Address& address) {
  std::memset(&address, 0, sizeof address);
  if (route.cid) {
    address.vsock.svm_family = AF_VSOCK;
    address.vsock.svm_cid = *route.cid;
    address.vsock.svm_port = ssh_port;
    return sizeof address.vsock;
  }
  const auto port = htons(static_cast<std::uint16_t>(route.endpoint.port));
  const char* text = route.endpoint.address.c_str();
  if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = port;
    return sizeof address.v4;
  }
  if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) != 1) return 0;
  address.v6.sin6_family = AF_INET6;
  address.v6.sin6_port = port;
  return sizeof address.v6;
}

bool await(int fd, short events, Clock::time_point end) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd one{fd, events, 0};
    const int ready = poll(&one, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready < 0 && errno == EINTR) continue;
    return ready == 1;
  }
}

// What an sshd says first begins so; a line of it may come before (RFC 4253, 4.2), which OpenSSH does not do.
bool is_sshd(int fd) {
  char word[4];
  return recv(fd, word, sizeof word, MSG_PEEK) == sizeof word && std::memcmp(word, "SSH-", sizeof word) == 0;
}

}  // namespace

std::string Route::words() const {
  return cid ? fmt::format("vsock CID {}", *cid) : fmt::format("{} port {}", endpoint.address, endpoint.port);
}

Fd dial(const Route& route, std::chrono::milliseconds patience) {
  const Clock::time_point end = Clock::now() + patience;
  Address address;
  const socklen_t length = fill(route, address);
  Fd fd(length == 0 ? -1 : socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {};
  if (connect(fd.get(), &address.any, length) < 0) {
    int error = 0;
    socklen_t size = sizeof error;
    if (errno != EINPROGRESS || !await(fd.get(), POLLOUT, end) ||
        getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
      return {};
  }
  return fcntl(fd.get(), F_SETFL, 0) < 0 ? Fd() : std::move(fd);
}

bool sshd_answers(const Route& route, std::chrono::milliseconds patience) {
  const Clock::time_point end = Clock::now() + patience;
  const Fd fd = dial(route, patience);
  // We have nothing to say. Debian 12's passt lets a guest's first words through only once it has had something from the caller.
  return fd && shutdown(fd.get(), SHUT_WR) == 0 && await(fd.get(), POLLIN, end) && is_sshd(fd.get());
}

std::vector<std::string> neighbours(std::string_view arp, const std::vector<std::string>& macs) {
  std::vector<std::string> found;
  std::istringstream lines{std::string(arp)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string address, type, flags, mac;
    words >> address >> type >> flags >> mac;
    const bool complete = flags == "0x2" || flags == "0x6";
    if (complete && std::ranges::find(macs, mac) != macs.end()) found.push_back(address);
  }
  return found;
}

std::vector<Route> routes(const Access& access, const std::filesystem::path& run_dir) {
  std::vector<Route> all;
  if (access.cid) all.push_back({access.cid, {}});
  for (const Endpoint& one : access.forwarded) all.push_back({std::nullopt, one});
  // QEMU's user networking and passt serve no address of the guest's to this host
  const auto add = [&](const std::string& address) {
    const auto same = [&](const Route& other) { return !other.cid && other.endpoint == Endpoint{address}; };
    if (std::ranges::none_of(all, same)) all.push_back({std::nullopt, {address}});
  };
  const std::string arp = topology::Sysfs{}.read("/proc/net/arp").value_or("");
  for (const std::string& address : neighbours(arp, access.macs)) add(address);
  if (access.agent && access.forwarded.empty())
    for (const std::string& address : agent_addresses(run_dir, access.macs)) add(address);
  return all;
}

std::optional<Route> find_route(const Access& access, const std::filesystem::path& run_dir,
                                std::chrono::milliseconds limit, const std::function<void()>& between) {
  constexpr auto pause = std::chrono::milliseconds(200);
  const Clock::time_point end = Clock::now() + limit;
  do {
    between();
    for (const Route& route : routes(access, run_dir))
      if (sshd_answers(route, patience_with_sshd)) return route;
    std::this_thread::sleep_for(pause);
  } while (Clock::now() < end);
  return std::nullopt;
}

}  // namespace launcher::guest
