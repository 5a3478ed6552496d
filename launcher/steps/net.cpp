#include "launcher/steps/net.hpp"

#include <fmt/format.h>

#include <cstddef>

#include "launcher/host/host.hpp"
#include "launcher/steps/step.hpp"

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

void hand_over(const std::vector<int>& numbers, const std::vector<int>& opened, Opened& all) {
  for (std::size_t i = 0; i < numbers.size(); ++i) all.fds[numbers[i]] = opened.at(i);
}

}  // namespace

std::string describe(const MakeTap& step) {
  std::string text = fmt::format("make tap {} with {}", step.name, queues(step.fds.size()));
  if (step.mtu) text += fmt::format(", MTU {}", *step.mtu);
  if (!step.bridge.empty()) text += fmt::format(", on bridge {}", step.bridge);
  return text;
}

std::string describe(const OpenTap& step) {
  return fmt::format("open tap {} with {}", step.name, queues(step.fds.size()));
}

std::string describe(const DropTap& step) { return fmt::format("let tap {} go with its last fd", step.name); }

std::string describe(const MakeMacvtap& step) {
  std::string text = fmt::format("make macvtap {} over {}, mode {}, {}, address {}", step.name, step.over, step.mode,
                                 queues(step.fds.size()), step.mac);
  if (step.mtu) text += fmt::format(", MTU {}", *step.mtu);
  return text;
}

std::string describe(const DropMacvtap& step) { return fmt::format("remove macvtap {}", step.name); }

std::string describe(const LimitRate& step) {
  std::string text = fmt::format("limit {}:", step.interface);
  if (step.receive != 0) text += fmt::format(" the guest receives at most {}", rate_text(step.receive));
  if (step.send != 0)
    text += fmt::format("{} sends at most {}", step.receive != 0 ? "," : " the guest", rate_text(step.send));
  return text;
}

std::string describe(const OpenVhost& step) {
  return fmt::format("open /dev/vhost-net {}",
                     step.fds.size() == 1 ? "once" : fmt::format("{} times", step.fds.size()));
}

void perform(const MakeTap& step, PerformContext& context) {
  hand_over(step.fds, context.host.make_tap(step.name, step.fds.size()), context.opened);
  if (step.mtu) context.host.set_mtu(step.name, *step.mtu);
  if (!step.bridge.empty()) context.host.join_bridge(step.name, step.bridge);
  context.host.set_up(step.name);
}

void perform(const OpenTap& step, PerformContext& context) {
  hand_over(step.fds, context.host.open_tap(step.name, step.fds.size(), step.multi_queue), context.opened);
}

void perform(const DropTap& step, PerformContext& context) { context.host.drop_tap(step.name); }

void perform(const MakeMacvtap& step, PerformContext& context) {
  hand_over(step.fds, context.host.make_macvtap(step.name, step.over, step.mode, step.mac, step.fds.size()),
            context.opened);
  if (step.mtu) context.host.set_mtu(step.name, *step.mtu);
  context.host.set_up(step.name);
}

void perform(const DropMacvtap& step, PerformContext& context) { context.host.drop_macvtap(step.name, step.mac); }

// What goes out through a tap is what the guest receives.
void perform(const LimitRate& step, PerformContext& context) {
  context.host.limit_rate(step.interface, step.receive, step.send);
}

void perform(const OpenVhost& step, PerformContext& context) {
  for (const int fd : step.fds) context.opened.fds[fd] = context.host.open_file("/dev/vhost-net", true, false);
}

}  // namespace launcher::inline steps
