// What a domain does not say, and libvirt or QEMU decides: written out where vmrun's own default would show the guest something else.
#include <fmt/format.h>

#include "launcher/import/walk.hpp"

namespace launcher::inline import {

namespace {

void timers(Walk& walk) {
  for (const auto& [key, words] : {std::pair("hpet", "QEMU's board has one"), {"pit", "QEMU's board has one"}})
    if (walk.spec.find("clock", key) == nullptr) {
      walk.spec.flag("clock", key, true, "libvirt's default; false costs the guest less");
      walk.tell_missing(fmt::format("clock/timer[@name='{}']", key), Verb::kept,
                        fmt::format("clock.{} = true: {}", key, words));
    }
}

void devices(Walk& walk) {
  if (walk.root.find("devices/panic") == nullptr) {
    walk.spec.text("panic", "action", "none", "no panic device in libvirt: the guest does as it is set to");
    walk.tell_missing("devices/panic", Verb::changed,
                      "the guest has a pvpanic-pci device, and panic.action = \"none\"");
  }
  if (walk.root.find("features/vmport") == nullptr)
    walk.tell_missing("features/vmport", Verb::changed,
                      "no VMware port, which QEMU's board has: VMware's own tools are blind");
  if (walk.root.find("devices/memballoon") == nullptr) {
    walk.spec.flag("balloon", "deflate_on_oom", false);
    walk.spec.flag("balloon", "free_page_reporting", false);
    walk.tell_missing("devices/memballoon", Verb::kept, "[balloon]: libvirt gives one by itself");
  }
  if (walk.root.find("devices/serial") == nullptr && walk.root.find("devices/console") == nullptr) {
    walk.spec.text("console", "mode", "none");
    walk.tell_missing("devices/serial", Verb::kept, "console.mode = \"none\"");
  }
}

}  // namespace

void import_defaults(Walk& walk) {
  if (walk.root.find("name") == nullptr) {
    walk.spec.text("", "name", "imported");
    walk.tell_missing("name", Verb::changed, "name = \"imported\"");
  }
  if (walk.root.find("uuid") == nullptr)
    walk.tell_missing("uuid", Verb::changed, "uuid = \"auto\": of the VM's name and this host");
  if (walk.root.find("vcpu") == nullptr) walk.tell_missing("vcpu", Verb::kept, "cpu.count = 1");
  if (walk.root.find("memory") == nullptr) {
    const auto start = memory_at_start(walk);
    if (start) walk.spec.set("memory", "size", toml_size(*start));
    walk.tell_missing("memory", start ? Verb::kept : Verb::refused,
                      start ? "the sum of the guest's nodes" : "no size of memory");
  }
  if (walk.root.find("cpu") == nullptr) {
    import_default_model(walk);
    walk.tell_missing(
        "cpu", Verb::kept,
        fmt::format("cpu.model = {}, QEMU's default; \"host\" is faster", walk.spec.find("cpu", "model")->value));
  }
  if (walk.vcpus > 1 && walk.root.find("cpu/topology") == nullptr)
    walk.tell_missing(
        "cpu/topology", Verb::better,
        fmt::format("cpu.sockets, cores and threads = \"auto\": the guest sees the cores, siblings and caches "
                    "that it gets; it saw {} sockets of one core",
                    walk.vcpus));
  if (walk.root.find("pm") == nullptr) {
    walk.spec.flag("", "sleep", true, "S3 and S4, as QEMU's board offers them");
    walk.tell_missing("pm", Verb::kept, "sleep = true, as QEMU's board has it");
  }
  if (walk.root.find("features/acpi") == nullptr && walk.root.find("features") == nullptr)
    walk.tell_missing("features/acpi", Verb::changed, "the board has ACPI: `vmrun stop` presses its power button");
  if (walk.spec.find("cpu", "pin") == nullptr && walk.root.find("cputune/vcpupin") == nullptr &&
      walk.root.find("vcpu") != nullptr && walk.root.find("vcpu")->attribute("cpuset") == nullptr)
    walk.tell_missing("cputune/vcpupin", Verb::better,
                      "cpu.pin = \"auto\": each vCPU gets a CPU of its own where the host has them; \"off\" lets them "
                      "float as they did");
  const SpecText::Line* sleep = walk.spec.find("", "sleep");
  if (walk.spec.find("boot", "secure_boot") != nullptr && sleep != nullptr && sleep->value == "true") {
    walk.spec.remove("", "sleep");
    walk.tell_missing("pm/suspend-to-mem", Verb::changed,
                      "no sleep: with Secure Boot it would bypass what guards the firmware's variables");
  }
  if (walk.root.find("memoryBacking/hugepages") == nullptr)
    walk.tell_missing("memoryBacking/hugepages", Verb::better, "memory.page = \"auto\": huge pages where they fit");
  import_cells(walk);
  devices(walk);
  timers(walk);
  import_boot_order(walk);
}

}  // namespace launcher::import
