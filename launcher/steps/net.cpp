#include "launcher/steps/net.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <stdexcept>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

namespace {

std::string queues(std::size_t count) { return count == 1 ? "1 queue" : fmt::format("{} queues", count); }

std::string rate_text(std::uint64_t bits) {
  constexpr std::uint64_t kilo = 1000;
  const char* unit = "";
  for (const char* larger : {"k", "M", "G"})
    if (bits % kilo == 0 && bits >= kilo) bits /= kilo, unit = larger;
  return fmt::format("{} {}bit/s", bits, unit);
}

// What bears the name is somebody else's: this VM has none yet.
void need_no_interface(const std::string& name, NetLinks& links) {
  if (links.has_interface(name))
    throw std::runtime_error(fmt::format("an interface {} is there already, and is not this VM's", name));
}

void hand_over(const std::vector<int>& numbers, std::vector<Fd> opened, Opened& all) {
  for (std::size_t i = 0; i < numbers.size(); ++i) all.fds[numbers[i]] = std::move(opened.at(i));
}

}  // namespace

std::string MakeTap::describe() const {
  std::string text = fmt::format("make tap {} with {}", name, queues(fds.size()));
  if (mtu) text += fmt::format(", MTU {}", *mtu);
  if (!bridge.empty()) text += fmt::format(", on bridge {}", bridge);
  return text;
}

std::string OpenTap::describe() const { return fmt::format("open tap {} with {}", name, queues(fds.size())); }

std::string DropTap::describe() const { return fmt::format("let tap {} go with its last fd", name); }

std::string MakeMacvtap::describe() const {
  std::string text =
      fmt::format("make macvtap {} over {}, mode {}, {}, address {}", name, over, mode, queues(fds.size()), mac);
  if (mtu) text += fmt::format(", MTU {}", *mtu);
  return text;
}

std::string DropMacvtap::describe() const { return fmt::format("remove macvtap {}", name); }

std::string LimitRate::describe() const {
  std::string text = fmt::format("limit {}:", interface);
  if (receive != 0) text += fmt::format(" the guest receives at most {}", rate_text(receive));
  if (send != 0) text += fmt::format("{} sends at most {}", receive != 0 ? "," : " the guest", rate_text(send));
  return text;
}

std::string TagPort::describe() const {
  return fmt::format("have bridge {} put what comes from {} into VLAN {}, and nothing else pass", bridge, interface,
                     vlan);
}

std::string OpenVhost::describe() const {
  return fmt::format("open /dev/vhost-net {}", fds.size() == 1 ? "once" : fmt::format("{} times", fds.size()));
}

DropTap MakeTap::precheck(PerformContext& context) const {
  need_no_interface(name, context.host.links);
  return undo();
}

void MakeTap::perform(PerformContext& context) const {
  hand_over(fds, context.host.links.make_tap(name, fds.size()), context.opened);
  if (mtu) context.host.links.set_mtu(name, *mtu);
  if (!bridge.empty()) context.host.links.join_bridge(name, bridge);
  context.host.links.set_up(name);
}

void OpenTap::perform(PerformContext& context) const {
  hand_over(fds, context.host.links.open_tap(name, fds.size(), multi_queue), context.opened);
}

void DropTap::perform(UndoContext& context) const { context.host.links.drop_tap(name); }

DropMacvtap MakeMacvtap::precheck(PerformContext& context) const {
  need_no_interface(name, context.host.links);
  return undo();
}

void MakeMacvtap::perform(PerformContext& context) const {
  hand_over(fds, context.host.links.make_macvtap(name, over, mode, mac, fds.size()), context.opened);
  if (mtu) context.host.links.set_mtu(name, *mtu);
  context.host.links.set_up(name);
}

void DropMacvtap::perform(UndoContext& context) const { context.host.links.drop_macvtap(name, mac); }

// What goes out through a tap is what the guest receives.
void LimitRate::perform(PerformContext& context) const { context.host.links.limit_rate(interface, receive, send); }

void TagPort::perform(PerformContext& context) const { context.host.links.set_port_vlan(interface, bridge, vlan); }

void OpenVhost::perform(PerformContext& context) const {
  for (const int fd : fds) context.opened.fds[fd] = context.host.files.open_file("/dev/vhost-net", true, false);
}

}  // namespace launcher::steps
