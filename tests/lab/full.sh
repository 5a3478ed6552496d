#!/bin/bash
# Debian's full kernels, whose drivers the cloud's lack: a USB stick and a tablet of the host's are lent to a guest that uses them, are
# nobody else's meanwhile, and are their drivers' again afterwards, with what the guest wrote; so too when vmrun is killed.
# lab: --all --timeout 420 --nodes 1 --kernel 6.12-full --qemu 10.0 --qemu-args '-device qemu-xhci,id=usb -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=ds -device usb-storage,drive=ds,bus=usb.0,port=1,serial=labstick -device usb-hub,bus=usb.0,port=2 -device usb-tablet,bus=usb.0,port=2.3'
# lab: --all --timeout 420 --nodes 1 --kernel 6.12-full --qemu 7.2 --qemu-args '-device qemu-xhci,id=usb -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=ds -device usb-storage,drive=ds,bus=usb.0,port=1,serial=labstick -device usb-hub,bus=usb.0,port=2 -device usb-tablet,bus=usb.0,port=2.3'
# lab: --all --timeout 420 --nodes 1 --kernel 6.1-full --qemu 11.1 --qemu-args '-device qemu-xhci,id=usb -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=ds -device usb-storage,drive=ds,bus=usb.0,port=1,serial=labstick -device usb-hub,bus=usb.0,port=2 -device usb-tablet,bus=usb.0,port=2.3'
# fault: not-lent the spec has no [[usb]]
# fault: not-given-back the stick's driver is taken away again at the end
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
for module in xhci_pci usb_storage sd_mod usbhid; do modprobe "$module" || die "no module $module"; done

usb=/sys/bus/usb/devices
# port_of VENDOR:PRODUCT: where that device is plugged in
port_of() {
    local device
    for device in "$usb"/*; do
        [ "$(cat "$device/idVendor" 2>/dev/null):$(cat "$device/idProduct" 2>/dev/null)" != "$1" ] || basename "$device"
    done
}
# driver_of PORT: of its first interface
driver_of() { basename "$(readlink "$usb/$1:1.0/driver")"; }
disk_of() { basename "$(compgen -G "$usb/$1:1.0/host*/target*/*/block/sd*")"; }
there() { [ -n "$(port_of 46f4:0001)" ] && [ -n "$(port_of 0627:0001)" ] && [ -b "/dev/$(disk_of "$(port_of 46f4:0001)")" ]; }
check "the host has a stick and a tablet" wait_for 30 there || die "no USB"
stick=$(port_of 46f4:0001) tablet=$(port_of 0627:0001)
fact "USB on the host" "stick $(cat "$usb/$stick/product") at $stick, tablet at $tablet"
machine_state_of_pci=$(declare -f machine_state)
eval "pci_${machine_state_of_pci}"
# of USB too: which driver has which interface
machine_state() { pci_machine_state; for part in "$usb"/*:*; do echo "${part##*/} $(basename "$(readlink "$part/driver")")"; done; }
machine=$(machine_state)
digest() { dd if="/dev/$(disk_of "$stick")" bs=64k count=16 iflag=direct 2>/dev/null | sha256sum | cut -d' ' -f1; }
before=$(digest)

# What the guest tells: USB devices, and what is on the stick once it has written there
ask='vmrun.do='$(base64 -w0 <<'GUEST'
for device in /sys/bus/usb/devices/*; do
    [ -e $device/product ] || continue
    of $device/idVendor; id=$text
    of $device/idProduct; id=$id:$text
    of $device/speed
    case ${device##*/} in usb*) ;; *) say "usb $id speed=$text" ;; esac
done
tries=0
while [ ! -b /dev/sda ] && [ $tries -lt 300 ]; do usleep 100000; tries=$((tries + 1)); done
exercise sda
say "stick $(dd if=/dev/sda bs=64k count=16 iflag=direct 2>/dev/null | sha256sum | cut -d' ' -f1)"
GUEST
)
usb_keys() { fault not-lent || printf '[[usb]]\nid = "46F4:0001"\n[[usb]]\nport = "%s"\n' "$tablet"; }
spec a vmrun.more "$ask" vmrun.then=idle <<TOML
name = "a"
[cpu]
count = 1
[memory]
size = "192M"
page = "4K"
$(usb_keys)
TOML
rom_spec b <<TOML
name = "b"
[cpu]
count = 1
[memory]
size = "32M"
page = "4K"
[[usb]]
port = "$stick"
TOML

# --- what the host needs is refused -------------------------------------------------------------------------------------------------
mkfs.ext4 -q "/dev/$(disk_of "$stick")" || die "no file system on the stick"
mkdir -p /mnt/stick
mount "/dev/$(disk_of "$stick")" /mnt/stick
refused "a stick that is mounted" 2 'this host uses USB device .*mounted' vmrun plan b.toml
umount /mnt/stick
refused "a hub" 2 'is a hub' vmrun plan --set "usb[0].port=\"${tablet%.*}\"" b.toml
refused "a port with nothing in it" 2 'no USB device at port 9-9' vmrun plan --set 'usb[0].port="9-9"' b.toml
check "nothing was changed" same_machine

# --- lent -----------------------------------------------------------------------------------------------------------------------------
up a
pid=${qemu[a]}
equal "the stick's driver while it is lent" usbfs "$(driver_of "$stick")"
equal "the tablet's" usbfs "$(driver_of "$tablet")"
equal "the host has no disk of it" "" "$(compgen -G "$usb/$stick:1.0/host*/target*/*/block/sd*")"
equal "devices that QEMU holds" 2 "$(find "/proc/$pid/fd" -lname '/dev/bus/usb/*' -exec readlink {} \; | sort -u | wc -l)"
equal "QEMU's uid and capabilities" "not 0, 0000000000000000" "$(awk '$1 == "Uid:" { u = $2 ? "not 0" : 0 } $1 == "CapEff:" { c = $2 } END { print u ", " c }' "/proc/$pid/status")"
guest_says a "usb 46f4:0001 speed=(480|5000)"
guest_says a "usb 0627:0001 speed="
guest_says a "disk sda write and read ok"
fact "in the guest" "$(tr -d '\r' <a.log | sed -n 's/^guest: \(usb .*\|sda .*\)/\1/p' | paste -sd';')"
refused "another VM cannot have it" 2 'belongs to VM a' vmrun run b.toml
check "verify finds all as planned" vmrun verify a
written=$(said a 'stick \(.*\)')
down a

# --- given back -----------------------------------------------------------------------------------------------------------------------
! fault not-given-back || echo "$stick:1.0" >/sys/bus/usb/drivers/usb-storage/unbind
check "the stick's disk is there again" wait_for 20 there
equal "its driver at the end" usb-storage "$(driver_of "$stick")"
equal "the tablet's at the end" usbhid "$(driver_of "$tablet")"
equal "what the host reads is what the guest wrote" "$written" "$(digest)"
check "which is not what was there before" test "$before" != "$written" -a -n "$written"
as_before "the machine is as before"

# --- killed while they are lent -------------------------------------------------------------------------------------------------------
up b
# (QEMU takes a device for usbfs when its guest first speaks to it, which a ROM does not.)
check "the host's driver has not the stick" test "$(driver_of "$stick")" != usb-storage
kill -9 "${keeper[b]}" "${qemu[b]}"
wait "${keeper[b]}" 2>/dev/null
unset "keeper[b]"
vmrun recover >recover.txt 2>&1 || cat recover.txt
check "killed: the stick's disk is there again" wait_for 20 there
as_before "and the machine as before"

fact "iommufd" "$(modprobe iommufd 2>/dev/null && ls /dev/iommu 2>/dev/null || echo "not in this kernel")"
end
