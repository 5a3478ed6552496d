// A source of randomness for the guest: virtio-rng.
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

struct Rng {
  std::string source;                         // rng.source: a file or device; "": QEMU's own generator
  std::optional<topology::Bytes> per_second;  // rng.rate: what the guest may draw in a second; auto: no limit

  struct Facts {
    std::string misfit = {};  // why the source cannot be used; "" if it can
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "rng", .many = false};
  static Rng read(TableReader& table);
  friend bool operator==(const Rng&, const Rng&) = default;
};

Rng::Facts look_at(const Rng& rng);
Rng::Facts assumed(const Rng& rng);
DeviceNeeds needs(const Rng& rng, const Rng::Facts& facts, unsigned vcpus);
void plan_device(const Rng& rng, const Rng::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
