#include "launcher/spec/qemu_options.hpp"

#include <algorithm>
#include <iterator>

namespace launcher::inline spec {

namespace {

constexpr QemuOption options[] = {
    // vmrun's own
    {"S", false, "remove it: vmrun starts every VM paused, pins it, and lets it go; `vmrun pause` stops it again"},
    {"preconfig", false, "remove it: vmrun starts every VM paused, pins it, and lets it go"},
    {"daemonize", false, "remove it: `vmrun start` returns when the VM runs"},
    {"accel", true, "set accel = \"kvm\" or \"tcg\" instead"},
    {"enable-kvm", false, "set accel = \"kvm\" instead"},
    {"xen-domid", true, "remove it: vmrun starts VMs under KVM or TCG"},
    {"xen-attach", false, "remove it: vmrun starts VMs under KVM or TCG"},
    {"xen-domid-restrict", false, "remove it: vmrun starts VMs under KVM or TCG"},
    {"machine", true, "set machine = \"...\" instead"},
    {"M", true, "set machine = \"...\" instead"},
    {"no-acpi", false, "remove it: `vmrun stop` presses the power button of ACPI"},
    {"no-hpet", false, "set clock.hpet = false instead"},
    {"cpu", true, "set cpu.model = \"...\" instead"},
    {"smp", true, "set cpu.count, cpu.sockets, cpu.cores and cpu.threads instead"},
    {"m", true, "set memory.size = \"...\" instead"},
    {"mem-path", true, "set memory.page = \"2M\" instead: huge pages need no mount"},
    {"mem-prealloc", false, "set memory.prealloc = true instead"},
    {"numa", true, "set memory.nodes = [...] instead: the guest's nodes mirror the host's"},
    {"overcommit", true, "set memory.lock = true or cpu.pm = true instead"},
    {"kernel", true, "set boot.kernel = \"...\" instead"},
    {"initrd", true, "set boot.initrd = \"...\" instead"},
    {"append", true, "set boot.cmdline = \"...\" instead"},
    {"bios", true, "set boot.firmware = \"...\" instead"},
    {"pflash", true, "set boot.firmware = \"uefi\" instead"},
    {"boot", true, "put the disk that is to be first before the others: it is booted in the spec's order"},
    {"rtc", true, "set clock.base and clock.drift_fix instead"},
    {"name", true, "set name = \"...\" instead"},
    {"uuid", true, "set uuid = \"...\" instead"},
    {"nodefaults", false, "remove it: vmrun gives it always"},
    {"no-user-config", false, "remove it: vmrun gives it always"},
    {"readconfig", true, "write what the file says as keys of the spec, or as extra_args of their own"},
    {"set", true, "set the key of the spec that decides it instead"},
    {"nographic", false, "remove it: a VM has no display unless you add one, and its console is [console]"},
    {"display", true, "add [display] instead"},
    {"vnc", true, "add [display] instead"},
    {"vga", true, "add [display] instead"},
    {"full-screen", false, "remove it: a VM has no window; [display] is VNC"},
    {"serial", true, "use [console] instead: it is the first serial port"},
    {"sandbox", true, "remove it: vmrun gives the whole sandbox always"},
    {"runas", true, "remove it: vmrun drops its rights before it starts QEMU; host.toml says as which user"},
    {"run-with", true, "remove it: vmrun drops its rights before it starts QEMU; host.toml says as which user"},
    {"async-teardown", false, "remove it: vmrun waits until the guest's memory is given back"},
    {"chroot", true, "remove it: QEMU gets files as descriptors, and no path needs to be readable by it"},
    {"add-fd", true, "remove it: QEMU gets no descriptors but those that the plan lists"},
    {"pidfile", true, "remove it: `vmrun show` tells the pid"},
    {"incoming", true, "remove it: vmrun starts guests afresh"},
    {"loadvm", true, "remove it: vmrun starts guests afresh"},
    {"snapshot", false, "set ephemeral = true of a disk instead"},
    {"no-shutdown", false, "remove it: a guest that powers off ends its VM"},
    {"watchdog-action", true, "set watchdog.action = \"...\" instead"},
    {"tpmdev", true, "add [tpm] instead"},
    {"dump-vmstate", true, "remove it: QEMU would print and end"},
    {"version", false, "remove it: QEMU would print and end"},
    {"h", false, "remove it: QEMU would print and end"},
    {"help", false, "remove it: QEMU would print and end"},
    {"audio-help", false, "remove it: QEMU would print and end"},
    // passed on
    {"acpitable", true, ""},
    {"action", true, ""},
    {"audio", true, ""},
    {"audiodev", true, ""},
    {"blockdev", true, ""},
    {"cdrom", true, ""},
    {"chardev", true, ""},
    {"compat", true, ""},
    {"D", true, ""},
    {"d", true, ""},
    {"debugcon", true, ""},
    {"device", true, ""},
    {"dfilter", true, ""},
    {"drive", true, ""},
    {"dtb", true, ""},
    {"echr", true, ""},
    {"enable-sync-profile", false, ""},
    {"fda", true, ""},
    {"fdb", true, ""},
    {"fsdev", true, ""},
    {"fw_cfg", true, ""},
    {"gdb", true, ""},
    {"global", true, ""},
    {"hda", true, ""},
    {"hdb", true, ""},
    {"hdc", true, ""},
    {"hdd", true, ""},
    {"icount", true, ""},
    {"iscsi", true, ""},
    {"jitdump", false, ""},
    {"k", true, ""},
    {"L", true, ""},
    {"mon", true, ""},
    {"monitor", true, ""},
    {"msg", true, ""},
    {"mtdblock", true, ""},
    {"net", true, ""},
    {"netdev", true, ""},
    {"nic", true, ""},
    {"no-fd-bootchk", false, ""},
    {"no-reboot", false, ""},
    {"object", true, ""},
    {"only-migratable", false, ""},
    {"option-rom", true, ""},
    {"parallel", true, ""},
    {"perfmap", false, ""},
    {"plugin", true, ""},
    {"portrait", false, ""},
    {"qmp", true, ""},
    {"qmp-pretty", true, ""},
    {"rotate", true, ""},
    {"s", false, ""},
    {"sd", true, ""},
    {"seed", true, ""},
    {"shim", true, ""},
    {"singlestep", false, ""},
    {"smbios", true, ""},
    {"spice", true, ""},
    {"trace", true, ""},
    {"usb", false, ""},
    {"usbdevice", true, ""},
    {"virtfs", true, ""},
    {"win2k-hack", false, ""},
};

}  // namespace

std::span<const QemuOption> qemu_options() { return options; }

const QemuOption* find_qemu_option(std::string_view name) {
  const auto* found = std::ranges::find(options, name, &QemuOption::name);
  return found == std::end(options) ? nullptr : found;
}

namespace {

// One "key=value" of a list: a comma within a value is doubled, so the key stands at the start or behind a single comma.
bool says(std::string_view list, std::string_view part) {
  for (std::size_t at = list.find(part); at != list.npos; at = list.find(part, at + 1)) {
    const bool begins = at == 0 || (list[at - 1] == ',' && (at == 1 || list[at - 2] != ','));
    const std::size_t end = at + part.size();
    if (begins && (part.ends_with('=') || end == list.size() || list[end] == ',')) return true;
  }
  return false;
}

}  // namespace

OwnValue own_value(std::string_view option, std::string_view value) {
  if (option == "smbios" && (says(value, "type=1") || says(value, "type=0x1") || says(value, "type=01")))
    return {"the system's table", "set uuid = \"...\", and keys of [smbios], instead"};
  if (option == "smbios" && says(value, "type=11"))
    return {"the table of strings", "set smbios.strings = [...], or add [[credential]], instead"};
  if (option == "action" && says(value, "panic=")) return {"what a panic does", "set panic.action instead"};
  if (option == "action" && says(value, "shutdown=pause"))
    return {"that a guest which powers off ends its VM", "remove it"};
  if (option == "action" && says(value, "watchdog=")) return {"what the watchdog does", "set watchdog.action instead"};
  if (option != "global") return {};
  const std::string_view driver = value.substr(0, value.find('.'));
  if (driver.ends_with("-cpu") || says(value, "driver=host-x86_64-cpu"))
    return {"the CPU", "set cpu.model, cpu.add and cpu.remove instead"};
  if (driver.ends_with("-machine") || driver.ends_with("-accel"))
    return {"machine and accelerator", "set machine and accel instead"};
  return {};
}

}  // namespace launcher::spec
