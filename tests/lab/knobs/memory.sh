#!/bin/bash
# The memory knobs of one VM, each asked for in a spec and seen in the guest, over QMP or in the kernel's maps of QEMU.
# Each is a line `KNOB<TAB>name<TAB>asked<TAB>seen<TAB>where`; the status is 1 when one was not seen as it was asked for.
# lab: --timeout 900 --kernel 6.12 --qemu 11.1
# lab: --all --timeout 900 --kernel all --qemu all
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin

query() { qmp "/run/vmrun/$1/qmp.sock" "$2" | jq -rc "$3"; }
# flags PID: those of its largest mapping, by the kernel
flags() { awk '/^Size:/ { size = $2 } /^VmFlags:/ && size > most { most = size; $1 = ""; all = $0 " " } END { print all }' "/proc/$1/smaps"; }
flag() { case $(flags "$1") in *" $2 "*) echo on ;; *) echo off ;; esac; }
rom() {
    { printf 'name = "m"\n[cpu]\ncount = 2\n[memory]\n'; cat; } | rom_spec m
    up m
}

for policy in strict preferred interleave; do
    for page in 4K 2M; do
        nodes='[1]'
        [ "$policy" != interleave ] || nodes='[0, 1]'
        rom <<<"size = \"128M\"
page = \"$page\"
nodes = $nodes
policy = \"$policy\""
        wanted=$policy
        [ "$policy" != strict ] || wanted=bind
        [ "$policy" != preferred ] || [ "$(query m query-memdev '.return[0].policy')" != preferred ] || wanted=preferred
        knob "memory.policy $policy $page" "$wanted" "$(query m query-memdev '[.return[].policy] | unique | join(" ")')" "QMP query-memdev"
        knob "memory.nodes $policy $page" "$(jq -cn "$nodes")" "$(query m query-memdev '[.return[]."host-nodes"[]] | unique')" "QMP query-memdev"
        [ "$page" = 4K ] || knob "memory.page $policy $page" yes "$(grep -qE 'huge.*kernelpagesize_kB=2048' "/proc/${qemu[m]}/numa_maps" && echo yes)" "numa_maps"
        kill_vm m
    done
done

rom <<<$'size = "128M"\npage = "4K"\nmerge = true\ndump = true'
knob memory.merge on "$(flag "${qemu[m]}" mg)" "VmFlags mg"
knob memory.dump true "$(query m query-memdev '.return[0].dump')" "QMP query-memdev"
kill_vm m
rom <<<$'size = "128M"\npage = "4K"\nshared = true'
knob memory.shared on "$(flag "${qemu[m]}" sh)" "VmFlags sh"
knob "memory.merge off" off "$(flag "${qemu[m]}" mg)" "VmFlags mg"
knob "memory.dump off" on "$(flag "${qemu[m]}" dd)" "VmFlags dd"
kill_vm m
rom <<<$'size = "128M"\npage = "4K"\nlock = true'
knob memory.lock on "$(flag "${qemu[m]}" lo)" "VmFlags lo"
kill_vm m
if [ "$LAB_QEMU" = 7.2 ]; then
    { printf 'name = "m"\n[memory]\nsize = "128M"\nlock = "on-fault"\n'; } | rom_spec m
    refused "lock on-fault" 2 on-fault vmrun plan m.toml
    knob "memory.lock on-fault" refused "$(grep -q 'locks all memory or none' refused.txt && echo refused)" "vmrun plan"
else
    rom <<<$'size = "128M"\npage = "4K"\nlock = "on-fault"'
    knob "memory.lock on-fault" on "$(flag "${qemu[m]}" lf)" "VmFlags lf"
    kill_vm m
fi
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
rom <<<$'size = "128M"\npage = "transparent"\nprealloc = true'
knob memory.transparent yes "$([ "$(awk '/^AnonHugePages:/ { sum += $2 } END { print sum }' "/proc/${qemu[m]}/smaps")" -ge 65536 ] && echo yes)" "AnonHugePages"
kill_vm m

# virtio-mem on both nodes
spec g memhp_default_state=online_movable vmrun.more vmrun.then=memory <<'TOML'
name = "g"
[cpu]
count = 4
[memory]
size = "256M"
max = "512M"
page = "2M"
nodes = [0, 1]
TOML
run g
wait_for 120 grep -q '^guest: memory_kb=' g.log || { cat g.err g.log; die "the guest does not get ready"; }
last() { tr -d '\r' <g.log | sed -n 's/^guest: memory_kb=//p' | tail -n 1; }
before=$(last)
more() { [ "$(last)" -ge $((before + $1 * 1024 - 8192)) ]; }
knob memory.max "$((256 << 20))" "$(query g query-memory-devices '[.return[].data."max-size"] | add')" "QMP query-memory-devices"
check "vmrun set memory=448M" vmrun set g memory=448M --timeout 60
knob "set memory" "$((192 << 20))" "$(query g query-memory-devices '[.return[].data.size] | add')" "QMP query-memory-devices"
wait_for 20 more 192
knob "set memory, guest" yes "$(more 192 && echo yes)" "guest MemTotal"
knob "set memory, nodes" "0 1" "$(query g query-memory-devices '[.return[].data | select(.size > 0).node] | sort | map(tostring) | join(" ")')" "QMP query-memory-devices"
check "vmrun set memory=256M" vmrun set g memory=256M --timeout 60
knob "set memory back" 0 "$(query g query-memory-devices '[.return[].data.size] | add')" "QMP query-memory-devices"
kill_vm g
end
