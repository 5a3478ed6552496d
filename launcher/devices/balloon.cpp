// The balloon's keys, and what it becomes on the command line. `vmrun set NAME balloon=SIZE` moves it.
#include "launcher/devices/balloon.hpp"

#include "launcher/devices/device_context.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

Balloon Balloon::read(TableReader& table) {
  Balloon balloon;
  balloon.deflate_on_oom = table.flag("deflate_on_oom", true);
  balloon.free_page_reporting = table.flag("free_page_reporting", true);
  return balloon;
}

Balloon::Facts look_at(const Balloon&) { return {}; }
Balloon::Facts assumed(const Balloon&) { return {}; }
DeviceNeeds needs(const Balloon&, const Balloon::Facts&, unsigned) { return {}; }

void plan_device(const Balloon& balloon, const Balloon::Facts&, DeviceContext& context) {
  if (balloon.free_page_reporting && !context.qemu.has("virtio-balloon-pci.free-page-reporting"))
    context.problem("free_page_reporting",
                    "true, but QEMU " + context.qemu.version + " does not know it; wanted one that does",
                    "set free_page_reporting = false");
  Opts device("virtio-balloon-pci");
  device.set("id", "balloon0");
  set_address(device, Single::balloon);
  device.set("deflate-on-oom", balloon.deflate_on_oom).set("free-page-reporting", balloon.free_page_reporting);
  context.args.add("-device", device,
                   balloon.free_page_reporting ? "what the guest frees goes back to the host by itself"
                                               : "`vmrun set` takes memory from the guest and gives it back",
                   context.origin(balloon.free_page_reporting ? "free_page_reporting" : "deflate_on_oom"));
}

}  // namespace launcher::devices
