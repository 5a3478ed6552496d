#!/bin/bash
# vmrun as an ordinary user: what needs no rights works; what cannot be had is refused, or left out and told where the spec says "auto".
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" = 0 ]; then
    uid=64321
    user=(setpriv --reuid "$uid" --regid "$uid" --clear-groups env -u VMRUN_RUN_DIR -u VMRUN_CACHE_DIR "HOME=$work/home" "XDG_RUNTIME_DIR=$work/xdg" "XDG_CACHE_HOME=$work/home/cache")
    "${user[@]}" test -r "$guest/vmlinuz" || skip "an ordinary user cannot read $guest"
else
    uid=$(id -u)
    user=(env -u VMRUN_RUN_DIR -u VMRUN_CACHE_DIR "HOME=$work/home" "XDG_RUNTIME_DIR=$work/xdg" "XDG_CACHE_HOME=$work/home/cache")
fi
install -d -m 700 -o "$uid" "$work/home" "$work/xdg"
linux() { # NAME MEMORY-LINES EXTRA-LINES
    { printf 'accel = "tcg"\n[memory]\nsize = "256M"\n%s\n%s\n' "$2" "$3"; boot "vmrun.report vmrun.disk=vda vmrun.then=poweroff"; } | spec "$1"
    chmod 644 "$work/$1.toml"
}
chmod 644 "$VMRUN_HOST_TOML"
install -m 600 -o "$uid" /dev/null "$work/disk.img"
truncate -s 16M "$work/disk.img"
everything='[[net]]
mode = "user"
[[disk]]
path = "disk.img"'

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    chmod 644 "$VMRUN_HOST_TOML"
    linux user 'page = "4K"' "$everything"
    run_code "${user[@]}" "$vmrun" run "$work/user.toml"
    is "$version: a guest with network and disk: exit code" "$code" 0
    console=$(tr -d '\r' <<<"$out")
    has "$version: it got ready" "$console" '^guest: ready'
    has "$version: its disk works" "$console" '^guest: disk vda write and read ok'
    has "$version: its network card is there" "$console" '^guest: eth0 driver=virtio_net'
    is "$version: nothing is left in \$XDG_RUNTIME_DIR/vmrun" "$(find "$work/xdg/vmrun" -mindepth 1 ! -name .lock 2>/dev/null)" ""
    check "$version: what is known of this QEMU was kept" grep -qrsF "$(readlink -f "$qemu")" "$work/home" /var/cache/vmrun

    linux auto 'page = "auto"' ''
    run_code "${user[@]}" "$vmrun" run "$work/auto.toml"
    is "$version: page = \"auto\": exit code" "$code" 0
    has "$version: page = \"auto\" fell back and says so" "$err" 'note: memory\.page'
done
use_qemu "${qemus[0]}"
chmod 644 "$VMRUN_HOST_TOML"

echo "--- while it runs"
{ printf 'accel = "tcg"\n[memory]\nsize = "256M"\npage = "4K"\n'; boot "vmrun.then=idle"; } | spec idle
chmod 644 "$work/idle.toml"
"${user[@]}" "$vmrun" start "$work/idle.toml" 2>/dev/null || failed "start"
qemu_pid=$("${user[@]}" "$vmrun" show idle --json | jq .qemu)
status=$(cat "/proc/$qemu_pid/status")
is "QEMU runs as that user" "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' <<<"$status")" "$uid $uid $uid $uid"
is "with seccomp and no new privileges" "$(awk '/^(Seccomp|NoNewPrivs):/ { print $2 }' <<<"$status" | sort | tr '\n' ' ')" "1 2 "
is "its sockets are the user's alone" "$(stat -c '%a %u' "$work/xdg/vmrun/idle/qmp.sock")" "600 $uid"
is "list" "$("${user[@]}" "$vmrun" list --json | jq -r '.[].name')" idle
run_code "${user[@]}" "$vmrun" kill idle
is "kill" "$code" 0
check "QEMU is gone" ended "$qemu_pid"

echo "--- what cannot be had"
if [ "$(cat "$(pool_file free)" 2>/dev/null || echo 0)" -lt 128 ]; then
    linux huge 'page = "2M"' ''
    run_code "${user[@]}" "$vmrun" run "$work/huge.toml"
    is 'page = "2M": exit code' "$code" 2
    has "it is refused by name and line" "$err" '^error: memory\.'
    has "with where it says so" "$err" "^ +--> $work/huge.toml:[0-9]+:[0-9]+"
    has "with numbers" "$err" 'node 0 has [0-9]+'
    has "with the reason" "$err" 'root'
else
    echo "note: this machine has 2M pages in its pool: the refusal was left out"
fi
linux bridge 'page = "4K"' '[[net]]
bridge = "lo"'
run_code "${user[@]}" "$vmrun" run "$work/bridge.toml"
is "a bridge: exit code" "$code" 2
has "the bridge is refused" "$err" 'net\[0\]\.bridge: .*needs root'
if [ -c /dev/kvm ] && ! "${user[@]}" test -w /dev/kvm; then
    { printf 'accel = "kvm"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec kvm
    chmod 644 "$work/kvm.toml"
    run_code "${user[@]}" "$vmrun" run "$work/kvm.toml"
    is 'accel = "kvm": exit code' "$code" 2
    has "KVM is refused with the reason" "$err" '/dev/kvm may not be opened by this user'
fi
if [ "$(id -u)" = 0 ]; then
    install -m 600 /dev/null "$work/roots.img"
    truncate -s 1M "$work/roots.img"
    linux roots 'page = "4K"' '[[disk]]
path = "roots.img"'
    run_code "${user[@]}" "$vmrun" run "$work/roots.toml"
    is "a disk of root's: exit code" "$code" 2
    has "it is refused by name" "$err" 'disk\[0\]\.path: .*cannot be opened'
fi
run_code "${user[@]}" "$vmrun" recover
is "recover" "$code" 0
finish
