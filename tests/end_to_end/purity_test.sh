#!/bin/bash
# `vmrun plan` changes nothing: the same bytes in 100 runs, as an ordinary user, and no file opened for writing.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
need strace
if [ "$(id -u)" = 0 ]; then
    user=(setpriv --reuid 65534 --regid 65534 --clear-groups env "HOME=$work/home")
else
    user=(env)
fi
mkdir -m 755 "$work/home"
"${user[@]}" strace -o /dev/null true 2>/dev/null || skip "strace is not allowed to trace here"

{ printf 'name = "pure"\n[cpu]\ncount = 1\n[memory]\nsize = "256M"\n[[disk]]\npath = "disk.img"\n[[net]]\nmode = "user"\n'; boot "vmrun.then=idle"; } | spec pure
truncate -s 16M "$work/disk.img"
chmod 666 "$work/disk.img" # even a file that could be written to
chmod 644 "$work"/*.toml "$rom"

# writes TRACE: opens that can change something. A directory and /dev/null are no exception: there are none.
writes() { grep -hE 'open(at|at2)?\(|creat\(' "$@" | grep -E 'O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|creat\(' || true; }
traced() { # WHAT ARGUMENT...
    local what=$1 status=0
    shift
    rm -rf "$work/trace"
    mkdir -m 777 "$work/trace"
    "${user[@]}" strace -ff -o "$work/trace/t" -e trace=open,openat,openat2,creat,mkdir,unlink,rename,mknod,socket,bind "$vmrun" "$@" >/dev/null 2>"$work/err" || status=$?
    is "$what: exit code" "$status" 0
    is "$what: opens for writing" "$(writes "$work"/trace/*)" ""
    is "$what: nothing made or removed" "$(grep -hE '^(mkdir|unlink|rename|mknod|bind)' "$work"/trace/* || true)" ""
    echo "      $(cat "$work"/trace/* | grep -cE '^open') opens in $(find "$work/trace" -type f | wc -l) processes and threads"
}
for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    use_qemu "$qemu"
    chmod 644 "$VMRUN_HOST_TOML"
    rm -f "$VMRUN_CACHE_DIR"/*
    # Cold: QEMU itself is asked; what it opens is told, what vmrun opens is judged.
    rm -rf "$work/trace"
    mkdir -m 777 "$work/trace"
    "${user[@]}" strace -ff -o "$work/trace/t" -e trace=open,openat,openat2,creat,mkdir,unlink,rename,execve "$vmrun" plan "$work/pure.toml" >"$work/cold" 2>/dev/null ||
        failed "$version, cold: plan"
    ours=() theirs=()
    for trace in "$work"/trace/*; do if grep -q 'execve(.*qemu' "$trace"; then theirs+=("$trace"); else ours+=("$trace"); fi; done
    [ "${#theirs[@]}" -gt 0 ] || failed "$version, cold: QEMU was asked"
    # the threads of the QEMU that is asked have files of their own, without execve: told by what vmrun never opens
    is "$version, cold: vmrun's opens for writing" "$(writes "${ours[@]}")" ""
    echo "      seen in QEMU, when it is asked: $(writes "${theirs[@]}" "${ours[@]}" | sed 's/.*"\(.*\)", \([A-Z_|]*\).*/\1 \2/' | sort | uniq -c | tr '\n' ';')"
    is "$version, cold: no cache was written" "$(find "$VMRUN_CACHE_DIR" -type f | wc -l)" 0

    # Warm: a launch has left what it knows of this QEMU.
    { rom_accel; printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n'; rom_boot; } | spec warm
    "$vmrun" start "$work/warm.toml" 2>/dev/null || failed "$version: start"
    "$vmrun" kill warm 2>/dev/null
    chmod -R a+rX "$VMRUN_CACHE_DIR"
    traced "$version, warm: plan" plan "$work/pure.toml"
    traced "$version, warm: plan --explain" plan "$work/pure.toml" --explain
    traced "$version, warm: plan --json for another machine" plan "$work/pure.toml" --json --host "synthetic:pack:2 numa:1 core:4 pu:2"
    "${user[@]}" "$vmrun" plan "$work/pure.toml" >"$work/first"
    is "$version: cold and warm plans are the same" "$(cmp "$work/cold" "$work/first" && echo same)" same
    different=0
    for ((i = 0; i < 100; i++)); do
        "${user[@]}" "$vmrun" plan "$work/pure.toml" | cmp -s - "$work/first" || different=$((different + 1))
    done
    is "$version: runs of 100 with other bytes" "$different" 0
    different=0
    "${user[@]}" "$vmrun" plan --json "$work/pure.toml" >"$work/first"
    check "$version: JSON" jq -e .args "$work/first" >/dev/null
    for ((i = 0; i < 100; i++)); do
        "${user[@]}" "$vmrun" plan --json "$work/pure.toml" | cmp -s - "$work/first" || different=$((different + 1))
    done
    is "$version: runs of 100 with other bytes of JSON" "$different" 0
done
finish
