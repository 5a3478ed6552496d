#!/bin/bash
# Every key of [[disk]] and [[share]] under each QEMU, as tests/lab/knobs/storage.sh sees it from the guest and over QMP; then what
# a failed start and a kill -9 leave of images, overlays and virtiofsd: nothing.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
command -v qemu-img >/dev/null || skip "qemu-img is not installed"
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
finish
