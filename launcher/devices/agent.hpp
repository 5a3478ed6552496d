// The channel to the guest agent (qemu-ga): a virtio-serial port, and a socket in the run directory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Agent {
  std::string name;  // agent.name: the port's, org.qemu.guest_agent.0

  struct Facts {
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "agent", .many = false};
  static Agent read(TableReader& table);
  friend bool operator==(const Agent&, const Agent&) = default;
};

Agent::Facts look_at(const Agent& agent);
Agent::Facts assumed(const Agent& agent);
DeviceNeeds needs(const Agent& agent, const Agent::Facts& facts, unsigned vcpus);
void plan_device(const Agent& agent, const Agent::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
