// A watchdog that the guest must feed: Intel's 6300ESB, or the one in the board's own chip set (iTCO).
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

struct Watchdog {
  enum class Model { i6300esb, itco };
  Model model = Model::i6300esb;  // watchdog.model
  enum class Action { reset, poweroff, pause, none };
  Action action = Action::reset;  // watchdog.action: what happens when the guest feeds it no more

  struct Facts {
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "watchdog", .many = false};
  static Watchdog read(TableReader& table);
  friend bool operator==(const Watchdog&, const Watchdog&) = default;
};

Watchdog::Facts look_at(const Watchdog& watchdog);
Watchdog::Facts assumed(const Watchdog& watchdog);
DeviceNeeds needs(const Watchdog& watchdog, const Watchdog::Facts& facts, unsigned vcpus);
void plan_device(const Watchdog& watchdog, const Watchdog::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
