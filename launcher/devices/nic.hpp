// A network card: virtio-net over a tap (with vhost) or user networking. Owns PCI slots 0x10-0x17.
#pragma once

#include <optional>
#include <string>

#include "launcher/device_context.hpp"
#include "launcher/problem.hpp"

namespace launcher {

class TableReader;

struct Nic {
  enum class Mode { user, tap };

  Mode mode = Mode::user;          // net.mode: "user" | "tap"; default: tap when bridge or tap is given
  std::string bridge;              // net.bridge: the tap vmrun makes joins it; only with mode tap
  std::string tap;                 // net.tap: an existing tap to use; "": vmrun makes one for the VM's life
  std::optional<bool> vhost;       // net.vhost; auto: on for a tap where /dev/vhost-net is
  std::optional<unsigned> queues;  // net.queues; auto: one per vCPU, at most 8, for a tap; 1 for user
  std::optional<bool> packed;      // net.packed; auto: on without vhost (kernel vhost has no packed ring)
  std::string mac;                 // net.mac: "52:54:00:12:34:56"; "": derived from VM name and index
  std::optional<unsigned> mtu;     // net.mtu, 68..65535; auto: what the bridge has, unset for user

  struct Facts {
    std::optional<unsigned> node;  // of the bridge's first port that has one
    bool bridge_exists = false, tap_exists = false, tap_multi_queue = false, vhost_available = false;
    unsigned bridge_mtu = 0;
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "net", .first_slot = slots::nics};
  static Nic read(TableReader& table);
  friend bool operator==(const Nic&, const Nic&) = default;
};

Nic::Facts look_at(const Nic& nic);
Nic::Facts assumed(const Nic& nic);
DeviceNeeds needs(const Nic& nic, const Nic::Facts& facts, unsigned vcpus);
void plan_device(const Nic& nic, const Nic::Facts& facts, DeviceContext& context);

}  // namespace launcher
