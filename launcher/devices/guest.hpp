// What shall be set inside the guest: [guest]. The rule: it never fails a boot; what the guest does not take is told by `vmrun verify`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Guest {
  std::optional<unsigned> queues;                            // guest.queues; auto: what each card has
  std::optional<unsigned> mtu;                               // guest.mtu; auto: what each card says
  std::vector<std::pair<std::string, std::string>> sysctls;  // guest.sysctls: names and values, sets taken apart
  std::vector<std::pair<std::string, std::string>> files;    // guest_files()' keys that are given, and their values
  std::string tuned;                                         // guest.tuned: a profile of tuned's; "": as it is
  std::optional<topology::CpuSet> irqs;  // guest.irqs: vCPUs for the cards' interrupts; auto: as they are

  struct Facts {
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "guest", .many = false};
  static Guest read(TableReader& table);
  friend bool operator==(const Guest&, const Guest&) = default;
};

Guest::Facts look_at(const Guest& guest);
Guest::Facts assumed(const Guest& guest);
DeviceNeeds needs(const Guest& guest, const Guest::Facts& facts, unsigned vcpus);
void plan_device(const Guest& guest, const Guest::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
