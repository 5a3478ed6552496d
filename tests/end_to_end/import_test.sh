#!/bin/bash
# A domain that a libvirtd of its own runs, then imported and run by vmrun: the guest says the same of itself, or the report said that it
# would not. And the way back: the domain that `vmrun export` makes fits libvirt's schema, the script runs a guest with QEMU alone.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need virsh libvirtd virt-xml-validate xmllint
qemu=${qemus[0]}
use_qemu "$qemu"

# What the guest tells of itself: its board, cards, disks and CPUs.
asks='for f in product_uuid product_serial; do say "same $f=$(cat /sys/class/dmi/id/$f)"; done
for n in /sys/class/net/*; do [ ${n##*/} = lo ] || { at=$(readlink -f $n/device/..); say "same mac=$(cat $n/address) place=${at##*/}"; }; done
for d in /sys/block/vd*; do say "same ${d##*/} size=$(cat $d/size) serial=$(cat $d/serial) sector=$(cat $d/queue/logical_block_size) cache=$(cat $d/queue/write_cache) ro=$(cat $d/ro)"; done
say "same cpus=$(grep -c ^processor /proc/cpuinfo) model=$(grep -m1 "model name" /proc/cpuinfo | cut -d: -f2)"
say "same hpet=$(grep -c hpet /sys/devices/system/clocksource/clocksource0/available_clocksource)"
for p in /sys/bus/pci/devices/*; do say "place ${p##*/} $(cat $p/vendor) $(cat $p/device)"; done'
cmdline="console=ttyS0 quiet no_timer_check nohz=off vmrun.do=$(base64 -w0 <<<"$asks") vmrun.then=poweroff"
truncate -s 64M "$work/disk.raw"
private=$work/libvirt
install -d -m 755 "$private" "$private/config" "$private/cache"
install -d -m 700 "$private/run"
install -m 644 "$guest/vmlinuz" "$private/vmlinuz"
install -m 644 "$guest/initrd" "$private/initrd"
chown -R nobody:nogroup "$private" "$work/disk.raw"
libvirt() {
    ${become:-} setpriv --reuid nobody --regid nogroup --clear-groups env -i HOME="$private" XDG_RUNTIME_DIR="$private/run" XDG_CONFIG_HOME="$private/config" \
        XDG_CACHE_HOME="$private/cache" PATH="$PATH" LIBVIRT_DEFAULT_URI=qemu:///session "$@"
}
cat >"$private/moved.xml" <<XML
<domain type='qemu'>
  <name>moved</name>
  <uuid>6f5c2f4e-1111-4222-8333-0123456789ab</uuid>
  <memory unit='MiB'>256</memory>
  <vcpu>2</vcpu>
  <sysinfo type='smbios'><system><entry name='serial'>SN-0042</entry></system></sysinfo>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>$private/vmlinuz</kernel><initrd>$private/initrd</initrd><cmdline>$cmdline</cmdline><smbios mode='sysinfo'/></os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>Nehalem</model><topology sockets='1' dies='1' cores='2' threads='1'/></cpu>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <devices>
    <emulator>$qemu</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='writethrough'/><source file='$work/disk.raw'/><target dev='vda' bus='virtio'/><serial>DISK-1</serial><blockio logical_block_size='4096' physical_block_size='4096'/></disk>
    <interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/></interface>
    <serial type='file'><source path='$private/console.log'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
XML
become='exec' libvirt libvirtd --timeout 120 >"$work/libvirtd.log" 2>&1 & # so that its pid is libvirtd's
daemon=$!
at_end+=('libvirt virsh destroy moved >/dev/null 2>&1' "kill $daemon 2>/dev/null; wait $daemon 2>/dev/null")
answers() { libvirt virsh version >/dev/null 2>&1; }
within 20 answers || { cat "$work/libvirtd.log"; failed "libvirtd answers"; finish; }
libvirt virsh define "$private/moved.xml" >/dev/null 2>"$work/define.err" || { cat "$work/define.err"; failed "libvirt takes the domain"; finish; }
libvirt virsh start moved >/dev/null 2>"$work/start.err" || { cat "$work/start.err"; failed "libvirt starts the domain"; finish; }
is_off() { [[ $(libvirt virsh domstate moved) == "shut off"* ]]; }
check "under libvirt the guest comes up and powers off" within 300 is_off
before=$(tr -d '\r' <"$private/console.log" | grep '^guest: same' || true)
places_before=$(tr -d '\r' <"$private/console.log" | grep -c '^guest: place' || true)
has "it told of itself" "$before" 'product_serial=SN-0042'

export XDG_RUNTIME_DIR=$private/run HOME=$private XDG_CONFIG_HOME=$private/config LIBVIRT_DEFAULT_URI="qemu+unix:///session?socket=$private/run/libvirt/libvirt-sock"
run_code "$vmrun" import --from virsh:moved -o "$work/moved.toml"
unset XDG_RUNTIME_DIR HOME XDG_CONFIG_HOME LIBVIRT_DEFAULT_URI
is "the import loses nothing" "$code" 0
[ "$code" = 0 ] || { echo "$out" "$err"; finish; }
has "a row says where the disk went" "$out" '^kept .*devices/disk/source/@file .*disk\[0\].path'
has "and that the card keeps its place" "$out" '^kept .*devices/interface/address/.*net\[0\].guest_bus'
hasnt "nothing is unknown" "$out" unknown
run_code timeout 300 "$vmrun" run "$work/moved.toml"
is "under vmrun the guest comes up and powers off" "$code" 0
after=$(tr -d '\r' <<<"$out" | grep '^guest: same' || true)
is "it says the same of itself" "$after" "$before"
has "its card's place, too" "$after" 'mac=52:54:00:aa:bb:cc place=0000:01:00.0'
check "its places were told" test "$places_before" -gt 3
run_code "$vmrun" import --from virsh:moved -o "$work/moved.toml"
is "a spec that is there is not written over" "$code" 2

# --- what the domain keeps between its runs: copied once, and never written over ---
install -d "$work/swtpm"
echo "sealed" >"$work/swtpm/tpm2-00.permall"
echo "boot entries" >"$work/kept_VARS.fd"
cat >"$work/kept.xml" <<XML
<domain type='kvm'><name>kept</name><uuid>6f5c2f4e-1111-4222-8333-0123456789ac</uuid><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><nvram>$work/kept_VARS.fd</nvram></os>
<devices><tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices></domain>
XML
run_code "$vmrun" import "$work/kept.xml" --tpm-state "$work/swtpm"
is "a place of the TPM's memory wants --adopt-state" "$code" 2
run_code "$vmrun" import "$work/kept.xml" --adopt-state --tpm-state "$work/swtpm" -o "$work/kept.toml"
is "state is adopted, and nothing is lost" "$code" 0
[ "$code" = 0 ] || echo "$out" "$err"
has "a row says so of the variables" "$out" '^kept .*os/nvram .*copied'
has "and of the TPM" "$out" '^kept .*tpm/backend/@type .*with the memory it has'
is "the TPM's memory is there" "$(cat "$VMRUN_STATE_DIR/kept/tpm/tpm2-00.permall")" sealed
is "the variables are there" "$(cat "$VMRUN_STATE_DIR/kept/vars.fd")" "boot entries"
echo "other" >"$work/kept_VARS.fd"
run_code "$vmrun" import "$work/kept.xml" --adopt-state --tpm-state "$work/swtpm" -o "$work/again.toml"
is "what is there already stays" "$code" 1
has "and the words say how it goes away" "$err" 'vmrun forget kept'
is "unchanged" "$(cat "$VMRUN_STATE_DIR/kept/vars.fd")" "boot entries"

# --- a QEMU command line ---
printf 'D=%s\nexec kvm -name line -m 256 -smp 2 \\\n -drive file=$D/disk.raw,format=raw,if=virtio,cache=none -nodefaults -nic none\n' "$work" >"$work/line.sh"
run_code "$vmrun" import --argv "$work/line.sh" -o "$work/line.toml"
is "a command line is imported, but for the exec in front of it" "$code" 3
run_code "$vmrun" validate "$work/line.toml"
is "its spec is one" "$code" 0

# --- the way back ---
run_code "$vmrun" export "$work/moved.toml" --to libvirt
echo "$out" >"$work/back.xml"
check "the domain fits libvirt's schema" virt-xml-validate "$work/back.xml" domain
cat >"$work/rich.toml" <<'TOML'
name = "rich"
windows = true
[cpu]
count = 4
[memory]
size = "2G"
[clock]
pit = true
[[disk]]
path = "/srv/a.qcow2"
l2_cache = "1M"
thread_pool_max = 8
[[disk]]
path = "/srv/b.raw"
interface = "virtio-scsi"
iothread_pool = "p"
[[disk]]
path = "/srv/c.raw"
interface = "sata"
[[cdrom]]
path = "/srv/i.iso"
[[net]]
mode = "passt"
forward = ["tcp:2222:22"]
[[net]]
bridge = "br0"
vlan = 7
sndbuf = "1M"
model = "e1000e"
receive_limit = "100Mbit"
[[share]]
path = "/srv/d"
tag = "d"
cache = "never"
queue_size = 512
[[usb]]
id = "046d:c52b"
[vsock]
[rng]
[tpm]
[watchdog]
[agent]
[balloon]
[display]
port = 5901
password_file = "/etc/p"
[smbios]
product = "x"
[[credential]]
name = "x"
value = "y"
[boot]
order = ["net", "disk"]
TOML
run_code "$vmrun" export "$work/rich.toml" --to libvirt --host "synthetic:pack:1 numa:2 core:4 pu:2"
is "a spec with a device of each kind says what a domain cannot" "$code" 3
echo "$out" >"$work/rich.xml"
check "and its domain fits the schema, too" virt-xml-validate "$work/rich.xml" domain
remember
run_code "$vmrun" export "$work/moved.toml" --to shell
echo "$out" >"$work/alone.sh"
run_code timeout 100 bash "$work/alone.sh"
is "QEMU alone runs the guest until it powers off" "$code" 0
[ "$code" = 0 ] || echo "$err"
is "and the guest says the same once more" "$(tr -d '\r' <<<"$out" | grep '^guest: same' || true)" "$before"
as_before "pools, taps and processes are as before"
left=$(find /tmp -maxdepth 1 -name 'tmp.*' -newer "$work/alone.sh" -user root | wc -l)
is "the script leaves no directory behind" "$left" 0
finish
