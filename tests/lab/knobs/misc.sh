#!/bin/bash
# The machine's rarer devices, each asked for in a spec and seen in the guest, over QMP or on the host.
# Each is a line `KNOB<TAB>name<TAB>asked<TAB>seen<TAB>where`; the status is 1 when one was not seen as it was asked for.
# lab: --timeout 900 --kernel 6.12 --qemu 11.1
# lab: --all --timeout 900 --kernel all --qemu all
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
export VMRUN_STATE_DIR=/root/state
truncate -s 64M /root/pmem
printf 'of a file' >/root/secret

query() { qmp "/run/vmrun/$1/qmp.sock" "$2" | jq -rc "$3"; }

spec a vmrun.more vmrun.disk=pmem0 vmrun.then=agent <<'TOML'
name = "a"
[memory]
size = "256M"
[rng]
source = "/dev/urandom"
rate = "1K"
[tpm]
[watchdog]
action = "pause"
[agent]
[balloon]
[display]
[smbios]
manufacturer = "ACME, Inc."
product = "Rack 7"
version = "1"
serial = "0042"
sku = "R7-42"
family = "Racks"
strings = ["rack=7, row=3"]
[[credential]]
name = "motd"
value = "hello, guest"
[[credential]]
name = "key"
file = "/root/secret"
[[nvdimm]]
path = "/root/pmem"
label_size = "128K"
[console]
log = "/root/console"
TOML
up a
wait_for 60 grep -q 'guest: agent listens' a.log || die "the guest's end of the agent channel"
knob rng virtio_rng.0 "$(said a 'rng=\([^ ]*\) .*')" "guest hw_random"
knob rng.source /dev/urandom "$(find "/proc/${qemu[a]}/fd" -lname /dev/urandom | head -n 1 | xargs -r readlink)" "QEMU's files"
knob rng.rate "1024 1000" "$(for p in max-bytes period; do query a "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine/peripheral/rng0\",\"property\":\"$p\"}}" .return; done | xargs)" QMP
knob tpm 2 "$(said a 'tpm version=\([0-9]*\) .*')" "guest tpm_version_major"
knob tpm.model tpm-crb "$(query a query-tpm '.return[0].model')" "QMP query-tpm"
knob tpm.helper "$(cpus_of "${qemu[a]}")" "$(cpus_of "$(jq '.helpers[0].process.pid' /run/vmrun/a/state.json)")" "swtpm's CPUs"
knob watchdog 0000:00:03.4 "$(said a 'watchdog=\(.*\)')" "guest PCI"
knob agent org.qemu.guest_agent.0 "$(said a 'port [^ ]* name=\(.*\)')" "guest virtio-ports"
knob agent.answer "$(said a 'up \(.*\)')" "$(vmrun agent a guest-info | jq -r .kernel)" "vmrun agent"
vmrun set a balloon=200M --timeout 30
knob balloon $((200 << 20)) "$(query a query-balloon .return.actual)" "QMP query-balloon"
knob display 0x030000 "$(said a 'vga=\(.*\)')" "guest PCI class"
knob display.socket RFB "$(timeout 5 socat -u UNIX-CONNECT:/run/vmrun/a/display/vnc.sock - | head -c 3)" "VNC's greeting"
knob smbios.manufacturer "ACME, Inc." "$(said a 'dmi sys_vendor=\(.*\)')" "guest DMI"
knob smbios.product "Rack 7" "$(said a 'dmi product_name=\(.*\)')" "guest DMI"
knob smbios.version 1 "$(said a 'dmi product_version=\(.*\)')" "guest DMI"
knob smbios.serial 0042 "$(said a 'dmi product_serial=\(.*\)')" "guest DMI"
knob smbios.sku R7-42 "$(said a 'dmi product_sku=\(.*\)')" "guest DMI"
knob smbios.family Racks "$(said a 'dmi product_family=\(.*\)')" "guest DMI"
knob smbios.strings "rack=7, row=3" "$(said a 'dmi-string \(rack.*\)')" "guest DMI table 11"
knob credential.value "hello, guest" "$(said a 'dmi-string io.systemd.credential:motd=\(.*\)')" "guest DMI table 11"
knob credential.file "of a file" "$(said a 'credential key=\(.*\)')" "guest fw_cfg"
knob nvdimm $((62 << 20)) "$(said a 'pmem0 bytes=\([0-9]*\) .*')" "guest pmem0: less its labels, a multiple of align"
knob nvdimm.path "write and read ok" "$(said a 'disk pmem0 \(.*\)')" "guest"
knob nvdimm.label_size $((128 << 10)) "$(query a '{"execute":"qom-get","arguments":{"path":"/machine/peripheral/nvdimm0","property":"label-size"}}' .return)" QMP
knob console.log "agent listens" "$(tr -d '\r' </root/console | sed -n 's/^guest: \(agent listens\)/\1/p')" "the file"
kill_vm a
knob state.tpm yes "$([ -s /root/state/a/tpm/tpm2-00.permall ] && echo yes)" "after the VM's end"

# UEFI is seen by tests/end_to_end/misc_test.sh: the lab's own QEMU ends with an assertion (bql_locked) when OVMF runs under its KVM
spec f vmrun.more vmrun.then=idle <<'TOML'
name = "f"
[memory]
size = "256M"
[tpm]
model = "tis"
TOML
echo 'firmware = "seabios"' >>f.toml
up f
knob "boot.firmware seabios" bios "$(said f 'firmware=\(bios\)')" "guest /sys/firmware/efi"
knob "tpm.model tis" tpm-tis "$(query f query-tpm '.return[0].model')" "QMP query-tpm"
kill_vm f

for action in exit pause none; do
    spec p vmrun.more vmrun.then=panic panic=1 <<TOML
name = "p"
[memory]
size = "256M"
[panic]
action = "$action"
TOML
    run p
    case $action in
        exit) keeper_ends p 1 && knob panic.exit "the guest panicked" "$(grep -o 'the guest panicked' p.err | head -n 1)" "vmrun's words" ;;
        pause)
            wait_for 60 grep -q 'is paused' p.err
            knob panic.pause guest-panicked "$(query p query-status .return.status)" "QMP query-status"
            kill_vm p
            ;;
        none)
            wait_for 90 sh -c 'grep -q "the guest panicked" p.err && [ "$(grep -c "guest: up" p.log)" -ge 2 ]'
            knob panic.none "2 or more" "$([ "$(grep -c 'guest: up' p.log)" -ge 2 ] && echo "2 or more")" "boots after panic=1"
            kill_vm p
            ;;
    esac
done

for action in reset poweroff pause none; do
    spec w vmrun.then=hang iomem=relaxed <<TOML
name = "w"
[memory]
size = "256M"
[watchdog]
action = "$action"
TOML
    run w
    wait_for 90 grep -q 'fed its watchdog no more' w.err
    case $action in
        reset) wait_for 60 sh -c '[ "$(grep -c "guest: up" w.log)" -ge 2 ]' && seen=reset || seen=- ;;
        poweroff) wait_for 10 sh -c "! kill -0 ${keeper[w]} 2>/dev/null" && seen=poweroff || seen=- ;;
        *)
            sleep 0.5
            case $(query w query-status .return.status) in running) seen=none ;; watchdog) seen=pause ;; *) seen=- ;; esac
            ;;
    esac
    knob watchdog.action "$action" "$seen" "what became of it"
    [ "$action" = poweroff ] && keeper_ends w 0 || kill_vm w
done
end
