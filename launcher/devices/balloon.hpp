// A balloon: memory that the guest gives back while it runs.
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

struct Balloon {
  bool deflate_on_oom = true;       // balloon.deflate_on_oom
  bool free_page_reporting = true;  // balloon.free_page_reporting: pages that the guest frees go back by themselves

  struct Facts {
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "balloon", .many = false};
  static Balloon read(TableReader& table);
  friend bool operator==(const Balloon&, const Balloon&) = default;
};

Balloon::Facts look_at(const Balloon& balloon);
Balloon::Facts assumed(const Balloon& balloon);
DeviceNeeds needs(const Balloon& balloon, const Balloon::Facts& facts, unsigned vcpus);
void plan_device(const Balloon& balloon, const Balloon::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
