// A card's way out of the host: the queues of its tap that the guest has on, the kernel's vhost, the MTU along the path.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"

namespace launcher::inline proof {

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = std::min(text.find(at, from), text.size());
    parts.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return parts;
}

std::vector<std::string> given_fds(const Keys& netdev, const std::string& one) {
  return split(key(netdev, one + "s").empty() ? key(netdev, one) : key(netdev, one + "s"), ':');
}

unsigned number(const std::string& text) {
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// A queue that the guest has turned off is one less in sysfs, while its fd still names the interface (kernel: drivers/net/tun.c,
// tun_set_real_num_queues, tun_chr_show_fdinfo).
std::string prove_queues(const Subject& subject, const std::string& id, const Keys& netdev, Rows& rows) {
  const std::vector<std::string> fds = given_fds(netdev, "fd");
  std::string interface;
  for (const std::string& fd : fds) {
    const auto name = field(subject, fmt::format("/proc/{}/fdinfo/{}", subject.qemu, fd), "iff");
    if (name && !name->empty()) interface = *name;
  }
  const std::string dir = fmt::format("/sys/class/net/{}/queues", interface);
  const std::vector<std::string> queues = interface.empty() ? std::vector<std::string>{} : subject.root.list(dir);
  const auto on = std::ranges::count_if(queues, [](const std::string& name) { return name.starts_with("rx-"); });
  rows.equal(id + ": queues in use", std::to_string(fds.size()),
             queues.empty() ? std::nullopt : std::optional(std::to_string(on)),
             interface.empty() ? fmt::format("/proc/{}/fdinfo", subject.qemu) : dir);
  return interface;
}

void prove_vhost(const Subject& subject, const std::string& id, const Keys& netdev, Rows& rows) {
  if (key(netdev, "vhost") != "on") return;
  const std::vector<std::string> fds = given_fds(netdev, "vhostfd");
  const auto open = std::count_if(fds.begin(), fds.end(),
                                  [&](const std::string& fd) { return target_of(subject, fd) == "/dev/vhost-net"; });
  rows.judged(id + ": vhost", fmt::format("{} of the kernel's", fds.size()), fmt::format("{} of the kernel's", open),
              fmt::format("/proc/{}/fd", subject.qemu), static_cast<std::size_t>(open) == fds.size());
}

void prove_mtu(const Subject& subject, const std::string& id, const std::string& mtu, const std::string& interface,
               Rows& rows) {
  if (mtu.empty() || interface.empty()) return;
  std::vector<std::string> path = {interface};
  if (const auto bridge = subject.root.link_name("/sys/class/net/" + interface + "/master")) path.push_back(*bridge);
  for (const std::string& part : path) {
    const std::string file = "/sys/class/net/" + part + "/mtu";
    const auto is = subject.root.read(file);
    if (!is) rows.add(id + ": MTU of " + part, mtu + " or more", "cannot be read", file, Outcome::not_checked);
    if (is) rows.judged(id + ": MTU of " + part, mtu + " or more", *is, file, number(*is) >= number(mtu));
  }
}

}  // namespace

std::vector<Row> prove_networks(const Subject& subject) {
  Rows rows("devices");
  std::map<std::string, Keys> cards;
  for (const Keys& device : arguments(subject, "-device"))
    if (!key(device, "netdev").empty()) cards[key(device, "netdev")] = device;
  for (const Keys& netdev : arguments(subject, "-netdev")) {
    if (key(netdev, "") != "tap") continue;
    const Keys& card = cards[key(netdev, "id")];
    const std::string id = key(card, "id").empty() ? key(netdev, "id") : key(card, "id");
    const std::string interface = prove_queues(subject, id, netdev, rows);
    prove_vhost(subject, id, netdev, rows);
    prove_mtu(subject, id, key(card, "host_mtu"), interface, rows);
  }
  return rows.take();
}

}  // namespace launcher::proof
