// The watchdog's key, and what it becomes on the command line.
#include "launcher/devices/watchdog.hpp"

#include <array>

#include "launcher/devices/device_context.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Watchdog Watchdog::read(TableReader& table) {
  Watchdog watchdog;
  watchdog.action = static_cast<Action>(table.choice("action", {"reset", "poweroff", "pause", "none"}, 0));
  return watchdog;
}

Watchdog::Facts look_at(const Watchdog&) { return {}; }
Watchdog::Facts assumed(const Watchdog&) { return {}; }
DeviceNeeds needs(const Watchdog&, const Watchdog::Facts&, unsigned) { return {}; }

void plan_device(const Watchdog& watchdog, const Watchdog::Facts&, DeviceContext& context) {
  if (!context.qemu.has("i6300esb"))
    context.problem("action", "QEMU " + context.qemu.version + " has no watchdog i6300esb; wanted one that has",
                    "remove [watchdog], or set another qemu in /etc/vmrun/host.toml");
  static constexpr std::array actions = {"reset", "poweroff", "pause", "none"};
  Opts device("i6300esb");
  device.set("id", "watchdog0");
  set_address(device, Single::watchdog);
  context.args.add("-device", device, "a guest that hangs no longer feeds it", "spec watchdog");
  context.args.add("-action", Opts().set("watchdog", actions.at(static_cast<std::size_t>(watchdog.action))),
                   "what happens then", context.origin("action"));
}

}  // namespace launcher::devices
