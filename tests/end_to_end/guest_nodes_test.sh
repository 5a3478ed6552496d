#!/bin/bash
# Guest nodes by hand: what the guest's own kernel says of its CPUs, its memory and its distances; one of memory alone and one of CPUs
# alone; that QEMU's own command line, imported, says the same nodes again.
aside=1
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only

nodes='[[numa]]
vcpus = [0, 2]
size = "96M"
distances = [10, 30, 20, 255]
[[numa]]
vcpus = "1"
size = "128M"
distances = [31, 10, 20, 40]
[[numa]]
vcpus = [3]
size = "0"
distances = [20, 20, 10, 20]
[[numa]]
vcpus = "none"
size = "64M"
distances = [50, 40, 20, 10]
'
# between WHAT KB LEAST MOST: what the kernel keeps for itself is missing
between() { if [ "${2:-0}" -gt "$3" ] && [ "$2" -le "$4" ]; then passed "$1 ($2)"; else failed "$1" "got '$2', wanted $3 to $4"; fi; }
for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    use_qemu "$qemu"
    {
        printf 'name = "nodes"\naccel = "tcg"\n[cpu]\ncount = 4\npin = "off"\nthreads = 1\n[memory]\npage = "4K"\n%s' "$nodes"
        boot "vmrun.report vmrun.then=idle nokaslr" # else the kernel may lie on any node, and its 32M are missing there
    } | spec nodes
    run_in_background pid nodes
    says nodes '^guest: cpu3 ' "$pid" 150 || failed "$version: the guest reports" "$(cat "$work/nodes.out" "$work/nodes.err")"
    console=$(console_of nodes)
    has "$version: four nodes" "$console" '^guest: cpus=4 nodes=4 '
    has "$version: the first has every other vCPU" "$console" '^guest: node0 cpus=0,2 .* distance=10,30,20,255$'
    has "$version: another way back" "$console" '^guest: node1 cpus=1 .* distance=31,10,20,40$'
    has "$version: one of CPUs alone" "$console" '^guest: node2 cpus=3 memory_kb=0 distance=20,20,10,20$'
    has "$version: one of memory alone" "$console" '^guest: node3 cpus= .* distance=50,40,20,10$'
    memory_of() { sed -n "s/^guest: node$1 .*memory_kb=\([0-9]*\) .*/\1/p" <<<"$console" | tail -n 1; }
    between "$version: memory of the second" "$(memory_of 1)" 80000 131072
    between "$version: memory of the fourth" "$(memory_of 3)" 40000 65536
    run_code "$vmrun" verify nodes
    is "$version: vmrun verify" "$code" 0
    has "$version: which looks at each node's memory" "$out" "memory of the guest's node 3"
    run_code "$vmrun" import --argv "/proc/$(qemu_of nodes)/cmdline" -o "$work/again.toml"
    is "$version: the command line, imported, has the nodes again" \
        "$(grep -A 4 '^\[\[numa' "$work/again.toml" | grep -E '^(vcpus|size|distances)' | tr -d '" ')" \
        "$(grep -E '^(vcpus|size|distances)' <<<"$nodes" | tr -d '" ' | sed 's/vcpus=\[\(.*\)\]/vcpus=\1/')"
    "$vmrun" kill nodes 2>/dev/null || failed "$version: vmrun kill"
    exit_of "$pid" 30
done
finish
