// The watchdog's key, and what it becomes on the command line.
#include "launcher/devices/watchdog.hpp"

#include <array>

#include "launcher/devices/device_context.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Watchdog Watchdog::read(TableReader& table) {
  Watchdog watchdog;
  watchdog.model = static_cast<Model>(table.choice("model", {"i6300esb", "itco"}, 0));
  watchdog.action = static_cast<Action>(table.choice("action", {"reset", "poweroff", "pause", "none"}, 0));
  return watchdog;
}

Watchdog::Facts look_at(const Watchdog&) { return {}; }
Watchdog::Facts assumed(const Watchdog&) { return {}; }
DeviceNeeds needs(const Watchdog&, const Watchdog::Facts&, unsigned) { return {}; }

namespace {

// ICH9's timer is on every q35 board; noreboot is the strap that keeps it from doing anything (QEMU's hw/acpi/ich9_tco.c).
void plan_itco(DeviceContext& context) {
  context.args.add("-global", Opts().set("driver", "ICH9-LPC").set("property", "noreboot").set("value", false),
                   "the chip set's own watchdog may act", context.origin("model"));
}

void plan_i6300esb(DeviceContext& context) {
  if (!context.qemu.has("i6300esb"))
    context.problem("model", "QEMU " + context.qemu.version + " has no watchdog i6300esb; wanted one that has",
                    "model = \"itco\" is on every board; or set another qemu in /etc/vmrun/host.toml");
  Opts device("i6300esb");
  device.set("id", "watchdog0");
  set_address(device, Single::watchdog);
  context.args.add("-device", device, "a guest that hangs no longer feeds it", "spec watchdog");
}

}  // namespace

void plan_device(const Watchdog& watchdog, const Watchdog::Facts&, DeviceContext& context) {
  static constexpr std::array actions = {"reset", "poweroff", "pause", "none"};
  watchdog.model == Watchdog::Model::itco ? plan_itco(context) : plan_i6300esb(context);
  context.args.add("-action", Opts().set("watchdog", actions.at(static_cast<std::size_t>(watchdog.action))),
                   "what happens then", context.origin("action"));
}

}  // namespace launcher::devices
