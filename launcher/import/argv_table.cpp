// The table of parts of a command line that no function tells of. A row is a promise that somebody looked at it.
#include <fnmatch.h>

#include "launcher/import/argv.hpp"

namespace launcher::inline import {

namespace {

constexpr const char* own_places = "vmrun places its devices itself";
constexpr const char* own_bus = "vmrun makes the controllers and bridges that its devices need";
constexpr const char* qemus_own = "QEMU's default";
constexpr const char* own_rights = "vmrun drops its rights, and gives QEMU a filter of system calls, by itself";

constexpr ArgvRow part_rows[] = {
    // vmrun's own
    {"S/", Verb::better, "vmrun starts every VM paused, pins it, and lets it go"},
    {"daemonize/", Verb::better, "`vmrun start` returns when the VM runs"},
    {"nodefaults/", Verb::kept, "vmrun gives it always"},
    {"no-user-config/", Verb::kept, "vmrun gives it always"},
    {"no-shutdown/", Verb::changed, "a guest that powers off ends its VM"},
    {"pidfile/", Verb::better, "`vmrun show` tells the pid"},
    {"runas/", Verb::better, own_rights},
    {"run-with/**", Verb::better, own_rights},
    {"chroot/", Verb::better, own_rights},
    {"sandbox/**", Verb::better, own_rights},
    {"msg/**", Verb::better, "vmrun's log has the time"},
    {"id/", Verb::changed, "another tool's number; vmrun's VMs have their names"},
    {"iscsi/**", Verb::changed, "of iSCSI disks, which vmrun does not open"},
    {"name/debug-threads", Verb::kept, "vmrun names its threads"},
    {"name/process", Verb::dropped, "QEMU's process has its own name"},
    {"incoming/", Verb::changed, "the guest is started afresh"},
    {"object/secret/**", Verb::dropped, "a secret is not copied"},
    {"object/iothread/**", Verb::better, "each disk has an I/O thread of its own, or shares that of its iothread_pool"},
    {"object/thread-context/**", Verb::better, "vmrun places QEMU's threads itself"},
    {"object/throttle-group/**", Verb::dropped, "no disk that was imported is in it, or no such limit here"},
    {"object/memory-backend-*/**", Verb::better, "vmrun chooses what backs memory by page and sharing"},
    {"object/tls-creds-*/**", Verb::dropped, "VNC sends in clear here"},
    // the board
    {"machine/kernel_irqchip", Verb::better, "KVM's own, split where it has to be"},
    {"machine/kernel-irqchip", Verb::better, "KVM's own, split where it has to be"},
    {"machine/smm", Verb::better, "vmrun has it where the firmware needs it"},
    {"machine/usb", Verb::changed, "a USB controller is there where something hangs on it"},
    {"machine/acpi", Verb::changed, "the board has ACPI"},
    {"machine/graphics", Verb::changed, "[display] says whether there is a screen"},
    {"machine/memory-backend", Verb::kept, "[memory]"},
    {"machine/nvdimm", Verb::better, "on where there is an [[nvdimm]]"},
    {"machine/hmat", Verb::dropped, "no table of memory's latencies"},
    {"machine/i8042", Verb::changed, "the board has PS/2 keyboard and mouse"},
    {"machine/max-ram-below-4g", Verb::dropped, qemus_own},
    {"machine/vmmouse", Verb::changed, "[display] has a tablet"},
    {"machine/**", Verb::dropped, "as vmrun's board has it"},
    {"accel/**", Verb::dropped, "KVM's own default"},
    {"m/**", Verb::dropped, qemus_own},
    {"overcommit/**", Verb::dropped, qemus_own},
    {"smp/**", Verb::dropped, "no such level in the shape that the guest sees"},
    {"rtc/**", Verb::dropped, qemus_own},
    {"boot/menu", Verb::dropped, "no menu: the first is booted"},
    {"boot/splash", Verb::dropped, "no picture"},
    {"boot/splash-time", Verb::dropped, "no picture"},
    {"boot/reboot-timeout", Verb::dropped, "SeaBIOS stays where it finds nothing"},
    {"boot/**", Verb::dropped, qemus_own},
    {"k/", Verb::dropped, "VNC tells the keys as they are"},
    {"L/", Verb::better, "the QEMU of host.toml finds its files itself"},
    {"usb/", Verb::changed, "a USB controller is there where something hangs on it"},
    {"usbdevice/", Verb::changed, "[display] has a tablet; [[usb]] passes a device of the host on"},
    {"audiodev/**", Verb::dropped, "no sound"},
    {"audio/", Verb::dropped, "no sound"},
    {"soundhw/", Verb::dropped, "no sound card"},
    {"balloon/", Verb::kept, "no [balloon]"},
    {"parallel/", Verb::dropped, "no parallel port"},
    {"fda/", Verb::dropped, "vmrun's board has no floppy drive"},
    {"no-fd-bootchk/", Verb::kept, "no floppy is booted"},
    {"rotate/", Verb::dropped, "VNC shows it as it is"},
    {"action/**", Verb::dropped, "vmrun decides what an end of the guest does"},
    // -cpu
    {"cpu/check", Verb::better, "each feature that is asked for is read back before the guest runs"},
    {"cpu/enforce", Verb::better, "each feature that is asked for is read back before the guest runs"},
    {"cpu/migratable", Verb::kept, "clock.invtsc decides what a host-bound guest gets"},
    {"cpu/host-phys-bits", Verb::better, "vmrun gives as many address bits as the memory needs"},
    {"cpu/host-phys-bits-limit", Verb::better, "vmrun gives as many address bits as the memory needs"},
    {"cpu/phys-bits", Verb::better, "vmrun gives as many address bits as the memory needs"},
    {"cpu/l3-cache", Verb::changed, "QEMU's own caches; cpu.host_caches tells those of the host"},
    {"cpu/topoext", Verb::better, "vmrun gives it where the guest's threads need it"},
    {"cpu/level", Verb::dropped, "as the model has it"},
    {"cpu/realized", Verb::dropped, "as the model has it"},
    {"cpu/core-id", Verb::dropped, "as the model has it"},
    {"cpu/start-powered-off", Verb::dropped, "as the model has it"},
    {"cpu/model-id", Verb::dropped, "the guest sees the model's own name"},
    {"cpu/vendor", Verb::dropped, "the guest sees the model's own vendor"},
    // disks
    {"drive/id", Verb::kept, "a name of that command line"},
    {"drive/**", Verb::dropped, "QEMU's default, for the disk's image"},
    {"blockdev/*/node-name", Verb::kept, "a name of that command line"},
    {"blockdev/**", Verb::dropped, "QEMU's default, or a node that no disk of the spec stands on"},
    // networks
    {"netdev/*/id", Verb::kept, "a name of that command line"},
    {"netdev/user/**", Verb::dropped, "QEMU's own addresses (10.0.2.0/24), and no server of its own"},
    {"netdev/tap/sndbuf", Verb::dropped, "net.sndbuf sets it"},
    {"netdev/tap/poll-us", Verb::dropped, "net.poll_us sets it"},
    {"netdev/tap/helper", Verb::better, "vmrun makes the tap itself"},
    {"netdev/bridge/helper", Verb::better, "vmrun makes the tap itself"},
    {"netdev/tap/vhostforce", Verb::kept, "net.vhost"},
    {"netdev/**", Verb::dropped, "vmrun's network has no such word"},
    {"nic/**", Verb::dropped, "vmrun's network has no such word"},
    {"net/**", Verb::dropped, "vmrun's network has no such word"},
    {"chardev/*/**", Verb::dropped, "nothing that was imported talks there"},
    {"tpmdev/*/id", Verb::kept, "a name of that command line"},
    // devices: what every one has, and those that vmrun makes or has not
    {"device/*/id", Verb::changed, "vmrun's own names"},
    {"device/*/bus", Verb::changed, own_places},
    {"device/*/addr", Verb::changed, own_places},
    {"device/*/multifunction", Verb::changed, own_places},
    {"device/*/channel", Verb::kept, "the order of the disks"},
    {"device/*/scsi-id", Verb::kept, "the order of the disks"},
    {"device/*/lun", Verb::kept, "the order of the disks"},
    {"device/*/unit", Verb::changed, own_places},
    {"device/*/port", Verb::changed, own_places},
    {"device/*/acpi-index", Verb::dropped, "no index, so no name of eno1's form"},
    {"device/*/romfile", Verb::changed, "a boot ROM is there where boot.order has \"net\""},
    {"device/*/rombar", Verb::changed, "a boot ROM is there where boot.order has \"net\""},
    {"device/*/ioeventfd", Verb::better, qemus_own},
    {"device/*/event_idx", Verb::better, qemus_own},
    {"device/*/disable-legacy", Verb::kept, "virtio 1.0"},
    {"device/*/disable-modern", Verb::dropped,
     "virtio 1.0 devices only: a guest with drivers of before 2016 does not find it"},
    {"device/*/iommu_platform", Verb::dropped, "no IOMMU is shown to the guest"},
    {"device/*/ats", Verb::dropped, "no IOMMU is shown to the guest"},
    {"device/*/config-wce", Verb::better, "disk.cache"},
    {"device/*/scsi", Verb::kept, "off, as QEMU has it"},
    {"device/*/share-rw", Verb::dropped, "no other VM writes to the same image"},
    {"device/*/device_id", Verb::dropped, "the guest finds the disk by its serial"},
    {"device/*/rotation_rate", Verb::dropped, "no rate is told"},
    {"device/*/vendor", Verb::dropped, "QEMU's own words"},
    {"device/*/product", Verb::dropped, "QEMU's own words"},
    {"device/*/werror", Verb::changed, "a full disk pauses the guest"},
    {"device/*/rerror", Verb::changed, "errors are told to the guest"},
    {"device/*/discard_granularity", Verb::dropped, "the block's size"},
    {"device/vfio-pci/x-vga", Verb::dropped, "no legacy VGA: the guest's firmware uses the card's own UEFI driver"},
    {"device/vfio-pci/**", Verb::dropped, "vfio's own"},
    {"device/usb-host/**", Verb::dropped, qemus_own},
    {"device/virtio-serial*/**", Verb::better, "one is there where [agent] needs it"},
    {"device/virtio-scsi*/driver", Verb::changed, "no disk hangs on it; vmrun makes one for each disk that does"},
    {"device/virtio-scsi*/**", Verb::dropped, qemus_own},
    {"device/pcie-root-port/**", Verb::changed, own_bus},
    {"device/ioh3420/**", Verb::changed, own_bus},
    {"device/pci-bridge/**", Verb::changed, own_bus},
    {"device/pcie-pci-bridge/**", Verb::changed, own_bus},
    {"device/i82801b11-bridge/**", Verb::changed, own_bus},
    {"device/pxb-pcie/**", Verb::changed, own_bus},
    {"device/x3130-upstream/**", Verb::changed, own_bus},
    {"device/xio3130-downstream/**", Verb::changed, own_bus},
    {"device/ahci/**", Verb::changed, "the board's own SATA controller in its place"},
    {"device/ich9-ahci/**", Verb::changed, "the board's own SATA controller in its place"},
    {"device/lsi/**", Verb::changed, "a virtio-scsi controller where a disk needs it"},
    {"device/lsi53c895a/**", Verb::changed, "a virtio-scsi controller where a disk needs it"},
    {"device/megasas*/**", Verb::changed, "a virtio-scsi controller where a disk needs it"},
    {"device/pvscsi/**", Verb::changed, "a virtio-scsi controller where a disk needs it"},
    {"device/piix3-usb-uhci/**", Verb::changed, "an xHCI controller is there where something hangs on it"},
    {"device/ich9-usb-*/**", Verb::changed, "an xHCI controller is there where something hangs on it"},
    {"device/usb-ehci/**", Verb::changed, "an xHCI controller is there where something hangs on it"},
    {"device/qemu-xhci/**", Verb::changed, "an xHCI controller is there where something hangs on it"},
    {"device/nec-usb-xhci/**", Verb::changed, "an xHCI controller is there where something hangs on it"},
    {"device/nvme/**", Verb::changed, "a controller for each namespace"},
    {"device/usb-hub/**", Verb::dropped, "no USB hub"},
    {"device/pci-ohci/**", Verb::changed, "an xHCI controller is there where something hangs on it"},
    {"device/usb-ccid/**", Verb::dropped, "no smartcard reader"},
    {"device/ccid-card-passthru/**", Verb::dropped, "no smartcard reader"},
    {"device/ccid-card-emulated/**", Verb::dropped, "no smartcard reader"},
    {"device/usb-kbd/**", Verb::changed, "a PS/2 keyboard"},
    {"device/usb-mouse/**", Verb::changed, "[display] has a tablet"},
    {"device/virtio-keyboard*/**", Verb::changed, "a PS/2 keyboard"},
    {"device/virtio-tablet*/**", Verb::changed, "[display] has a tablet"},
    {"device/usb-redir/**", Verb::dropped, "no USB over SPICE; [[usb]] passes a device of the host on"},
    {"device/*hda*/**", Verb::dropped, "no sound card"},
    {"device/AC97/**", Verb::dropped, "no sound card"},
    {"device/virtio-sound*/**", Verb::dropped, "no sound card"},
    {"device/intel-iommu/**", Verb::dropped,
     "no IOMMU is shown to the guest: it can pass no device on to guests of its own"},
    {"device/virtio-iommu*/**", Verb::dropped, "no IOMMU is shown to the guest"},
    {"device/vhost-user-fs*/**", Verb::dropped, "nobody says here which directory it serves: add [[share]]"},
    {"device/ivshmem*/**", Verb::dropped, "no memory shared with other guests; ivshmem-plain in extra_args"},
    {"device/pc-dimm/**", Verb::dropped, "nothing is behind it: the guest lacks this memory"},
    {"device/virtio-crypto*/**", Verb::dropped, "no crypto device"},
    {"device/isa-debugcon/**", Verb::dropped, "no debug console; -debugcon in extra_args"},
};

// '*' stands for any letters of one part, "/**" at the end for all that follows.
bool fits(const char* pattern, const std::string& text) {
  const std::string_view whole = pattern;
  const bool below = whole.ends_with("/**");
  return fnmatch(std::string(whole.substr(0, whole.size() - (below ? 3 : 0))).c_str(), text.c_str(),
                 FNM_PATHNAME | (below ? FNM_LEADING_DIR : 0)) == 0;
}

}  // namespace

const ArgvRow* find_argv_row(const std::string& name, const std::string& kind, const std::string& key) {
  if (name.size() + kind.size() + key.size() > 512) return nullptr;  // nothing here is as long
  const std::string path = name + "/" + (kind.empty() ? "" : kind + "/") + key;
  for (const ArgvRow& row : part_rows)
    if (fits(row.path, path)) return &row;
  return nullptr;
}

}  // namespace launcher::import
