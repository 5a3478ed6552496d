#!/bin/bash
# Boots a Linux guest with every kind of disk and user network under each QEMU: everything by fd, QEMU without rights.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need qemu-img

mkdir -m 700 "$work/images"
fresh_images() {
    rm -f "$work"/images/*
    truncate -s 64M "$work/images/raw.img"
    qemu-img create -q -f qcow2 "$work/images/plain.qcow2" 64M
    qemu-img create -q -f raw "$work/images/base.img" 64M
    qemu-img create -q -f qcow2 -b base.img -F raw "$work/images/over.qcow2"
    truncate -s 64M "$work/images/only-read.img"
    chmod 600 "$work"/images/*
}
for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    fresh_images
    {
        cat <<TOML
name = "boot"
accel = "tcg"
[cpu]
count = 2
pin = "off"
[memory]
size = "256M"
[[net]]
mode = "user"
[[disk]]
path = "images/raw.img"
aio = "io_uring"
packed = true
[[disk]]
path = "images/plain.qcow2"
[[disk]]
path = "images/over.qcow2"
[[disk]]
path = "images/only-read.img"
read_only = true
TOML
        boot "vmrun.report vmrun.disk=vda,vdb,vdc,vdd vmrun.then=idle"
    } | spec boot
    remember
    run_in_background pid boot
    says boot '^guest: ready' "$pid" 60 || failed "$version: the guest gets ready" "$(cat "$work/boot.out" "$work/boot.err")"
    console=$(console_of boot)
    if child=$(qemu_of boot); then
        is "$version: QEMU's program" "$(readlink "/proc/$child/exe")" "$(readlink -f "$qemu")"
        check "$version: QEMU is not root" test "$(awk '/^Uid:/ { print $2 }' "/proc/$child/status")" != 0
        check "$version: it has a ring of io_uring" bash -c "ls -l /proc/$child/fd | grep -q 'anon_inode:\[io_uring\]'"
        image=$(find "/proc/$child/fd" -lname "$work/images/raw.img" | head -1)
        flags=$(awk '/^flags:/ { print $2 }' "/proc/$child/fdinfo/${image##*/}")
        check "$version: the raw image is open past the page cache (flags $flags)" test $((8#$flags & 8#40000)) != 0
        image=$(find "/proc/$child/fd" -lname "$work/images/only-read.img" | head -1)
        flags=$(awk '/^flags:/ { print $2 }' "/proc/$child/fdinfo/${image##*/}")
        is "$version: the read-only image is open for reading only" "$((8#$flags & 3))" 0
    else
        failed "$version: QEMU runs"
    fi
    "$vmrun" stop boot 2>/dev/null || failed "$version: vmrun stop"
    exits "$version: exit code after the guest powered off" "$pid" 30 0
    as_before "$version: the machine is as before"
    has "$version: packed rings negotiated by the guest's driver" "$console" '^guest: virtio[0-9]* device=blk driver=virtio_blk mq=1 packed=1'
    has "$version: network card" "$console" '^guest: eth0 driver=virtio_net mac=52:54:00'
    for disk in vda vdb vdc; do has "$version: $disk" "$console" "^guest: disk $disk write and read ok"; done
    has "$version: vdd is read-only" "$console" '^guest: vdd .* ro=1 '
    has "$version: vdd" "$console" '^guest: disk vdd read ok'
    has "$version: serial derived from the name" "$console" '^guest: vda .* serial=boot-0'
    check "$version: the guest's bytes are in the raw image" bash -c "! cmp -s -n 1048576 '$work/images/raw.img' /dev/zero"
    check "$version: the backing file is untouched" cmp -s -n 67108864 "$work/images/base.img" /dev/zero
    check "$version: the qcow2 images are sound" bash -c "qemu-img check -q '$work/images/plain.qcow2' && qemu-img check -q '$work/images/over.qcow2'"

    { printf 'name = "off"\naccel = "tcg"\n[memory]\nsize = "256M"\n'; boot "vmrun.then=poweroff"; } | spec off
    run_code "$vmrun" "$work/off.toml"
    is "$version: a guest that powers itself off: exit code" "$code" 0
    has "$version: its console is on stdout" "$(tr -d '\r' <<<"$out")" '^guest: ready'
    has "$version: why it ended is told" "$err" 'the guest powered off; everything is put back'
    as_before "$version: the machine is as before again"
done
finish
