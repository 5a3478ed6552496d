#!/bin/bash
# Boots a guest with each of the rarer devices under each QEMU and asks the guest what it sees of them: randomness, TPM, agent
# channel, balloon, screen, SMBIOS strings, credentials, NVDIMM; then guests that panic, hang, and boot by UEFI.
aside=1
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need swtpm /usr/share/qemu/firmware # Debian: swtpm, ovmf

printf 'very secret, indeed' >"$work/secret"
chmod 600 "$work/secret"
for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    rm -rf "$work/state" "$work/console.log"
    truncate -s 64M "$work/pmem, \"1\".img"
    chmod 600 "$work/pmem, \"1\".img"
    {
        cat <<'TOML'
name = "misc"
accel = "tcg"
[cpu]
pin = "off"
emulator = "0"
[memory]
size = "256M"
page = "4K"
[rng]
source = "/dev/urandom"
rate = "1K"
[tpm]
[watchdog]
action = "none"
[agent]
[balloon]
[display]
[smbios]
manufacturer = "ACME, Inc."
product = "it's a \"rack\""
version = "1,2"
serial = "0042"
sku = "R7=42"
family = "Räcke"
strings = ["rack=7, row=3"]
[[credential]]
name = "motd"
value = "hello, guest"
[[credential]]
name = "key"
file = "secret"
[[nvdimm]]
path = 'pmem, "1".img'
[console]
log = "console.log"
TOML
        boot "vmrun.more vmrun.disk=pmem0 vmrun.then=agent"
    } | spec misc
    remember
    run_in_background pid misc
    says misc '^guest: agent listens' "$pid" 90 || failed "$version: the guest gets ready" "$(cat "$work/misc.out" "$work/misc.err")"
    console=$(console_of misc)
    has "$version: virtio-rng feeds the guest" "$console" '^guest: rng=virtio_rng.0 bytes=64'
    has "$version: a TPM 2.0 with a measured boot" "$console" '^guest: tpm version=2 pcr0=[0-9A-F]{64}'
    has "$version: the watchdog's device" "$console" '^guest: watchdog=0000:00:03.4'
    has "$version: the agent's port" "$console" '^guest: port vport[0-9]+p1 name=org.qemu.guest_agent.0'
    has "$version: SMBIOS manufacturer" "$console" '^guest: dmi sys_vendor=ACME, Inc\.$'
    has "$version: SMBIOS product" "$console" "^guest: dmi product_name=it's a \"rack\"\$"
    has "$version: SMBIOS version" "$console" '^guest: dmi product_version=1,2$'
    has "$version: SMBIOS serial" "$console" '^guest: dmi product_serial=0042$'
    has "$version: SMBIOS SKU" "$console" '^guest: dmi product_sku=R7=42$'
    has "$version: SMBIOS family" "$console" '^guest: dmi product_family=Räcke$'
    has "$version: SMBIOS string" "$console" '^guest: dmi-string rack=7, row=3$'
    has "$version: a credential by SMBIOS" "$console" '^guest: dmi-string io.systemd.credential:motd=hello, guest$'
    has "$version: a credential by file" "$console" '^guest: credential key=very secret, indeed$'
    has "$version: the NVDIMM" "$console" '^guest: pmem0 bytes=67108864 ro=0'
    has "$version: the NVDIMM holds what is written" "$console" '^guest: disk pmem0 write and read ok'
    has "$version: the screen's device" "$console" '^guest: vga=0x030000'
    hasnt "$version: no secret on a command line" "$(tr '\0' ' ' <"/proc/$(qemu_of misc)/cmdline")" 'very secret'
    has "$version: the log has what the guest said" "$(tr -d '\r' <"$work/console.log")" '^guest: agent listens'
    run_code "$vmrun" agent misc guest-info
    has "$version: the agent answers" "$out" '"kernel":"[0-9]'
    is "$version: the screen's socket speaks VNC" "$(timeout 5 socat -u "UNIX-CONNECT:$VMRUN_RUN_DIR/misc/display/vnc.sock" - 2>/dev/null | head -c 3 || true)" RFB
    swtpm=$(jq -r '.helpers[] | select(.role == "swtpm") | .process.pid' "$VMRUN_RUN_DIR/misc/state.json")
    is "$version: the TPM's process" "$(basename "$(readlink "/proc/$swtpm/exe")")" swtpm
    is "$version: swtpm runs as QEMU's user" "$(awk '/^Uid:/ { print $2 }' "/proc/$swtpm/status")" "$(awk '/^Uid:/ { print $2 }' "/proc/$(qemu_of misc)/status")"
    is "$version: swtpm's CPUs are the emulator's" "$(awk '/^Cpus_allowed_list:/ { print $2 }' "/proc/$swtpm/status")" 0
    run_code "$vmrun" set misc balloon=200M --timeout 20
    is "$version: vmrun set balloon=200M" "$code" 0
    is "$version: the balloon took that much" "$("$vmrun" qmp misc query-balloon | jq .actual)" $((200 << 20))
    run_code "$vmrun" set misc memory=512M
    is "$version: without memory.max there is no more memory to be had" "$code" 2
    "$vmrun" kill misc 2>/dev/null || failed "$version: vmrun kill"
    exit_of "$pid" 30
    as_before "$version: the machine is as before"
    is "$version: the NVDIMM's file is root's again" "$(stat -c %u "$work/pmem, \"1\".img")" 0
    check "$version: the TPM's memory is kept" test -s "$work/state/misc/tpm/tpm2-00.permall"

    for action in exit pause; do
        { printf 'name = "panic"\naccel = "tcg"\n[memory]\nsize = "256M"\npage = "4K"\n[panic]\naction = "%s"\n' "$action"; boot "vmrun.more vmrun.then=panic"; } | spec panic
        run_in_background pid panic
        if [ "$action" = exit ]; then
            exits "$version: a guest that panics ends vmrun with a failure" "$pid" 60 1
        else
            within 60 grep -q 'panicked and is paused' "$work/panic.err" || failed "$version: vmrun tells of the panic" "$(cat "$work/panic.err")"
            is "$version: the guest that panicked is paused" "$("$vmrun" qmp panic query-status | jq -r .status)" guest-panicked
            "$vmrun" kill panic 2>/dev/null || failed "$version: vmrun kill panic"
            exit_of "$pid" 30
        fi
        has "$version: vmrun says so ($action)" "$(cat "$work/panic.err")" 'the guest panicked'
    done

    { printf 'name = "hang"\naccel = "tcg"\n[memory]\nsize = "256M"\npage = "4K"\n[watchdog]\naction = "poweroff"\n'; boot "vmrun.then=hang iomem=relaxed"; } | spec hang
    run_in_background pid hang
    exit_of "$pid" 60
    has "$version: the guest armed its watchdog" "$(console_of hang)" '^guest: watchdog armed'
    has "$version: vmrun says that it was fed no more" "$(cat "$work/hang.err")" 'fed its watchdog no more'

    { printf 'name = "uefi"\naccel = "tcg"\n[memory]\nsize = "256M"\npage = "4K"\n[tpm]\nmodel = "tis"\n'; boot "vmrun.more vmrun.then=poweroff"; echo 'firmware = "uefi"'; } | spec uefi
    starts=(first)
    [ "$qemu" != "${qemus[0]}" ] || starts+=(second) # by its own variables: a matter of ours, not of QEMU's
    for start in "${starts[@]}"; do
        run_in_background pid uefi
        exits "$version: UEFI, $start start" "$pid" 120 0
        has "$version: UEFI, $start start: the guest sees it" "$(console_of uefi)" '^guest: firmware=uefi secure_boot=0'
        has "$version: UEFI, $start start: the TPM by TIS" "$(console_of uefi)" '^guest: tpm version=2 '
    done
    is "$version: its variables are kept, for root alone" "$(stat -c '%a %u' "$work/state/uefi/vars.fd")" "600 0"
    check "$version: and are its own" bash -c "! cmp -s '$work/state/uefi/vars.fd' /usr/share/OVMF/OVMF_VARS_4M.fd"

    run_code "$vmrun" plan --set boot.secure_boot=true "$work/uefi.toml"
    is "$version: Secure Boot with variables made without it: exit code" "$code" 2
    has "$version: it says so" "$err" 'error: boot.secure_boot: true, but the UEFI variables .* were made without: no keys are enrolled'
    run_code "$vmrun" forget uefi
    is "$version: vmrun forget" "$code" 0
    has "$version: it names what went" "$err" 'removed .*/state/uefi/tpm: its TPM'
    check "$version: nothing is kept" test ! -e "$work/state/uefi"
    run_code "$vmrun" plan --set boot.secure_boot=true "$work/uefi.toml"
    is "$version: then it can be had" "$code" 0

    # Secure Boot is in force (a kernel that the host gives runs all the same: only disks are not trusted). Debian 12's OVMF stops
    # in the system management mode of an emulated pc-q35-11.x board, and runs on the same QEMU's older boards.
    board=q35
    [ "$version" != 11.1 ] || board=pc-q35-10.0
    { printf 'name = "secure"\nmachine = "%s"\naccel = "tcg"\n[memory]\nsize = "256M"\npage = "4K"\n' "$board"; boot "vmrun.more vmrun.then=poweroff"; printf 'firmware = "uefi"\nsecure_boot = true\n'; } | spec secure
    run_in_background pid secure
    exits "$version: Secure Boot: exit code" "$pid" 120 0
    has "$version: Secure Boot: in force, with keys" "$(console_of secure)" '^guest: firmware=uefi secure_boot=1 setup_mode=0'
    run_code "$vmrun" plan "$work/secure.toml"
    is "$version: its variables serve it again" "$code" 0
    is "$version: as the record says" "$(jq .secure_boot "$work/state/secure/made-by.json")" true
done
run_code env PATH=/nowhere "$vmrun" plan "$work/uefi.toml"
has "without swtpm: refused, with help" "$err" 'apt install swtpm'
finish
