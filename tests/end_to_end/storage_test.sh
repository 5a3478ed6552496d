#!/bin/bash
# Every key of [[disk]] and [[share]] under each QEMU, as tests/lab/knobs/storage.sh sees it from the guest and over QMP; then what
# a failed start and a kill -9 leave of images, overlays and virtiofsd: nothing.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need qemu-img
mkdir -m 755 "$work/knobs"
for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    remember
    code=0
    VMRUN=$vmrun GUEST=$guest ACCEL=tcg KNOB_DIR=$work/knobs bash "$root/tests/lab/knobs/storage.sh" >"$work/knobs.out" 2>&1 || code=$?
    is "$version: every knob is as asked" "$code" 0
    [ "$code" = 0 ] || cat "$work/knobs.out"
    has "$version: knobs were seen" "$(cat "$work/knobs.out")" '^[4-9][0-9] knobs seen, 0 not as asked$'
    if [ -x /usr/lib/qemu/virtiofsd ] || [ -x /usr/libexec/virtiofsd ]; then
        has "$version: the host's file has no setuid bit" "$(cat "$work/knobs.out")" "^KNOB[[:space:]]share \(a setuid .*[[:space:]]755 0$"
    fi
    as_before "$version: the machine is as before"
done

# --- what does not stay ---
use_qemu "${qemus[0]}"
mkdir -m 755 "$work/store"
truncate -s 16M "$work/store/base.raw"
# under KVM where it can be: a QEMU that takes no fd for /dev/kvm then has mounts of its own, and must see virtiofsd's socket
accel=$(have_kvm && echo kvm || echo tcg)
{ printf 'name = "gone"\naccel = "%s"\n[cpu]\ncount = 1\nmodel = "qemu64"\n[memory]\nsize = "64M"\n[[disk]]\npath = "store/base.raw"\nephemeral = true\n' "$accel"
  printf '[[disk]]\npath = "store/new.raw"\ncreate = { size = "16M" }\n'
  rom_boot; } | spec gone
sed -i '1i extra_args = ["-device", "no-such-device"]' "$work/gone.toml"
run_code "$vmrun" "$work/gone.toml"
is "a start that fails: exit code" "$code" 1
is "a start that fails leaves no image" "$(ls "$work/store")" base.raw
sed -i 1d "$work/gone.toml"
run_code "$vmrun" plan "$work/gone.toml"
is "a plan makes no image" "$code $(ls "$work/store")" "0 base.raw"
if [ -x /usr/lib/qemu/virtiofsd ] || [ -x /usr/libexec/virtiofsd ]; then
    mkdir "$work/shared"
    printf '[[share]]\npath = "shared"\ntag = "t"\n' >>"$work/gone.toml"
    helpers() { for file in $(grep -lsF "$work/shared" /proc/[0-9]*/cmdline); do [[ $(tr '\0' ' ' <"$file") != *virtiofsd* ]] || echo "${file%/cmdline}"; done; }
    none_left() { [ -z "$(helpers)" ]; }
    remember
    run_in_background pid gone
    check "the ROM runs" says gone 'vmrun-rom up' "$pid" 60
    check "virtiofsd runs" test -n "$(helpers)"
    is "the new image has its name" "$(ls "$work/store" | paste -sd' ')" "base.raw new.raw"
    kill -KILL "$pid"
    check "virtiofsd ends with vmrun" within 5 none_left
    run_code "$vmrun" recover
    is "recover: exit code" "$code" 0
    as_before "the machine is as before a kill -9"
    is "images: that of the guest is kept, the overlay is gone" "$(ls "$work/store" | paste -sd' ')" "base.raw new.raw"
fi

# --- what a guest can write decides nothing; what others have is left to them ---
mkdir -m 755 "$work/own"
dd if="$rom" of="$work/own/boot.raw" bs=512 count=1 status=none
disk_spec() { # NAME PATH [LINES]
    { printf 'name = "%s"\naccel = "tcg"\n[cpu]\ncount = 1\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n[[disk]]\npath = "%s"\n%b' "$1" "$2" "${3:-}"; rom_boot; } | spec "$1"
}
refused() { # WHAT NAME PATTERN
    run_code "$vmrun" plan "$work/$2.toml"
    is "$1: exit code" "$code" 2
    has "$1" "$err" "$3"
}
allowed() { # WHAT NAME
    run_code "$vmrun" plan "$work/$2.toml"
    is "$1" "$code" 0
}
qemu-img create -q -f qcow2 -F raw -b /etc/shadow "$work/own/evil.raw" 16M
disk_spec evil own/evil.raw
refused "a qcow2 header in a raw disk opens nothing" evil "evil.raw' is raw by its name, and its first bytes are those of a qcow2 image"
disk_spec evil own/evil.raw 'format = "raw"\n'
allowed "it is a disk as it is where that is stated" evil
hasnt "/etc/shadow is not opened" "$out" shadow
printf '\0\0\0\037' | dd of="$work/own/evil.raw" bs=1 seek=20 conv=notrunc status=none
disk_spec evil own/evil.raw 'format = "qcow2"\n'
begun=$SECONDS
refused "clusters of 2^31 bytes" evil 'its clusters have 2\^31 bytes'
check "are refused at once" test $((SECONDS - begun)) -lt 5
disk_spec passwd /etc/passwd
refused "a file that is no image" passwd "'/etc/passwd' does not say by its name which format it has"

truncate -s 16M "$work/own/image.raw"
disk_spec one own/image.raw
ln "$work/own/image.raw" "$work/own/hard.raw"
disk_spec two own/hard.raw
"$vmrun" start "$work/one.toml" 2>/dev/null
refused "an image that another VM has, by another name" two "hard.raw' belongs to VM one"
VMRUN_RUN_DIR=$work/elsewhere refused "an image that a QEMU of nobody's has" two "hard.raw' is in use by QEMU of VM 'one', pid"
"$vmrun" kill one
allowed "it is free again" two

if loop=$(losetup --find --show "$work/own/image.raw" 2>/dev/null); then
    refused "an image with a loop device" one "is in use by this host: it is attached to $loop"
    mkfs.ext4 -q "$loop"
    mkdir "$work/mounted"
    disk_spec hbmnt "$loop"
    allowed "a device that nobody has" hbmnt
    if mount "$loop" "$work/mounted"; then
        refused "a mounted device" hbmnt "is in use by this host: it is mounted on '$work/mounted'"
        disk_spec hbmnt "$loop" 'read_only = true\n'
        allowed "it can be read" hbmnt
        umount "$work/mounted"
    fi
    losetup -d "$loop"
fi
# a boot sector that prints on COM1 and halts; as any image it was made for sectors of 512 bytes
{ printf '\x31\xc0\x8e\xd8\xbe\x1a\x7c\xba\xf8\x03\xac\x08\xc0\x74\x03\xee\xeb\xf8\xf4\xeb\xfd'
  head -c 5 /dev/zero
  printf 'the boot sector runs\n'
  head -c 463 /dev/zero
  printf '\x55\xaa'; } >"$work/own/boot4k.img"
truncate -s 1M "$work/own/boot4k.img"
if loop=$(losetup --find --show -b 4096 "$work/own/boot4k.img" 2>/dev/null); then
    disk_spec hb4kn "$loop"
    sed -i '/^\[boot\]/,$d' "$work/hb4kn.toml"
    printf '[console]\nlog = "4kn.log"\nmode = "socket"\n' >>"$work/hb4kn.toml"
    run_code "$vmrun" plan "$work/hb4kn.toml"
    has "a device of 4096-byte sectors boots with 512" "$out" '512 for the disk to boot from, though the block device has 4096'
    run_code "$vmrun" start "$work/hb4kn.toml"
    is "it starts: exit code" "$code" 0
    check "and it boots" within 60 grep -aq 'the boot sector runs' "$work/4kn.log"
    "$vmrun" kill hb4kn
    losetup -d "$loop"
fi
finish
