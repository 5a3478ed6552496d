// Steps that make or open the guest's end of a network. The rule: what we make goes with its last fd or is ours by its MAC, and
// somebody else's is opened, never changed.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

struct DropTap {
  static constexpr const char* kind = "drop_tap";
  std::string name;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const DropTap&, const DropTap&) = default;
};
BOOST_DESCRIBE_STRUCT(DropTap, (), (name))

// A multiqueue tap that lives as long as its fds (not persistent: the kernel removes it with its last fd).
struct MakeTap {
  static constexpr const char* kind = "make_tap";
  std::string name;
  std::string bridge;  // "": none
  std::optional<unsigned> mtu;
  std::vector<int> fds;  // child's numbers, one per queue
  std::string describe() const;
  DropTap undo() const { return {name}; }
  DropTap precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeTap&, const MakeTap&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeTap, (), (name, bridge, mtu, fds))

// Somebody else's persistent tap: opened, never changed
struct OpenTap {
  static constexpr const char* kind = "open_tap";
  std::string name;
  bool multi_queue = false;
  std::vector<int> fds;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const OpenTap&, const OpenTap&) = default;
};
BOOST_DESCRIBE_STRUCT(OpenTap, (), (name, multi_queue, fds))

// Only one with that MAC is ours
struct DropMacvtap {
  static constexpr const char* kind = "drop_macvtap";
  std::string name;
  std::string mac;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const DropMacvtap&, const DropMacvtap&) = default;
};
BOOST_DESCRIBE_STRUCT(DropMacvtap, (), (name, mac))

// A macvtap over an interface, and its queues. It is no child of its fds: DropMacvtap ends it.
struct MakeMacvtap {
  static constexpr const char* kind = "make_macvtap";
  std::string name;
  std::string over;  // "eth0"
  std::string mode;  // "bridge", "private", "vepa", "passthru"
  std::string mac;   // the guest's, too: the kernel hands over only packets to it
  std::optional<unsigned> mtu;
  std::vector<int> fds;  // child's numbers, one per queue
  std::string describe() const;
  DropMacvtap undo() const { return {name, mac}; }
  DropMacvtap precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeMacvtap&, const MakeMacvtap&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeMacvtap, (), (name, over, mode, mac, mtu, fds))

// Of an interface that vmrun made, with which the limit goes; bits a second, 0: none
struct LimitRate {
  static constexpr const char* kind = "limit_rate";
  std::string interface;
  std::uint64_t receive = 0;  // what the guest receives
  std::uint64_t send = 0;     // what it sends
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const LimitRate&, const LimitRate&) = default;
};
BOOST_DESCRIBE_STRUCT(LimitRate, (), (interface, receive, send))

// The VLAN of a bridge's port that vmrun made, with which it goes
struct TagPort {
  static constexpr const char* kind = "tag_port";
  std::string interface;
  std::string bridge;
  unsigned vlan = 0;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const TagPort&, const TagPort&) = default;
};
BOOST_DESCRIBE_STRUCT(TagPort, (), (interface, bridge, vlan))

// /dev/vhost-net, one fd per queue
struct OpenVhost {
  static constexpr const char* kind = "open_vhost";
  std::vector<int> fds;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const OpenVhost&, const OpenVhost&) = default;
};
BOOST_DESCRIBE_STRUCT(OpenVhost, (), (fds))

}  // namespace launcher::steps
