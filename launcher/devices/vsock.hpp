// Sockets between host and guest without a network (AF_VSOCK): vhost-vsock. A function of the single devices' slot.
#pragma once

#include <cstdint>
#include <optional>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Vsock {
  std::optional<std::uint32_t> cid;  // vsock.cid, 3..4294967294; auto: derived from the VM's name

  struct Facts {
    bool available = false;  // /dev/vhost-vsock can be opened
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "vsock", .many = false};
  static Vsock read(TableReader& table);
  friend bool operator==(const Vsock&, const Vsock&) = default;
};

Vsock::Facts look_at(const Vsock& vsock);
Vsock::Facts assumed(const Vsock& vsock);
DeviceNeeds needs(const Vsock& vsock, const Vsock::Facts& facts, unsigned vcpus);
void plan_device(const Vsock& vsock, const Vsock::Facts& facts, DeviceContext& context);

// Where this host listens for what that guest's systemd says of itself.
unsigned notify_port(std::uint32_t cid);

}  // namespace launcher::devices
