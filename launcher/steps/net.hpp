// Steps that make or open the guest's end of a network. The rule: what we make goes with its last fd or is ours by its MAC, and
// somebody else's is opened, never changed.
#pragma once

#include <boost/mp11/algorithm.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline steps {

struct PerformContext;

// A multiqueue tap that lives as long as its fds (not persistent: the kernel removes it with its last fd).
struct MakeTap {
  std::string name;
  std::string bridge;  // "": none
  std::optional<unsigned> mtu;
  std::vector<int> fds;  // child's numbers, one per queue
  friend bool operator==(const MakeTap&, const MakeTap&) = default;
};
struct OpenTap {  // somebody else's persistent tap: opened, never changed
  std::string name;
  bool multi_queue = false;
  std::vector<int> fds;
  friend bool operator==(const OpenTap&, const OpenTap&) = default;
};
struct DropTap {
  std::string name;
  friend bool operator==(const DropTap&, const DropTap&) = default;
};
// A macvtap over an interface, and its queues. It is no child of its fds: DropMacvtap ends it.
struct MakeMacvtap {
  std::string name;
  std::string over;  // "eth0"
  std::string mode;  // "bridge", "private", "vepa", "passthru"
  std::string mac;   // the guest's, too: the kernel hands over only packets to it
  std::optional<unsigned> mtu;
  std::vector<int> fds;  // child's numbers, one per queue
  friend bool operator==(const MakeMacvtap&, const MakeMacvtap&) = default;
};
struct DropMacvtap {  // only one with that MAC is ours
  std::string name;
  std::string mac;
  friend bool operator==(const DropMacvtap&, const DropMacvtap&) = default;
};
struct LimitRate {  // of an interface that vmrun made, with which the limit goes; bits a second, 0: none
  std::string interface;
  std::uint64_t receive = 0;  // what the guest receives
  std::uint64_t send = 0;     // what it sends
  friend bool operator==(const LimitRate&, const LimitRate&) = default;
};
struct OpenVhost {  // /dev/vhost-net, one fd per queue
  std::vector<int> fds;
  friend bool operator==(const OpenVhost&, const OpenVhost&) = default;
};

template <class T>
concept NetStep = boost::mp11::mp_contains<
    boost::mp11::mp_list<MakeTap, OpenTap, DropTap, MakeMacvtap, DropMacvtap, LimitRate, OpenVhost>, T>::value;

std::string describe(const MakeTap& step);
std::string describe(const OpenTap& step);
std::string describe(const DropTap& step);
std::string describe(const MakeMacvtap& step);
std::string describe(const DropMacvtap& step);
std::string describe(const LimitRate& step);
std::string describe(const OpenVhost& step);

void perform(const MakeTap& step, PerformContext& context);
void perform(const OpenTap& step, PerformContext& context);
void perform(const DropTap& step, PerformContext& context);
void perform(const MakeMacvtap& step, PerformContext& context);
void perform(const DropMacvtap& step, PerformContext& context);
void perform(const LimitRate& step, PerformContext& context);
void perform(const OpenVhost& step, PerformContext& context);

}  // namespace launcher::inline steps
