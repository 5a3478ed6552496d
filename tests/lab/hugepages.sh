#!/bin/bash
# Guest memory lies on huge pages of the planned node, pools are raised by exactly what they lack and go back to what they were: with
# two VMs ended in either order, on a short node, with 1G pages, with a guest of two nodes. (A fragmented node: fragmented.sh.)
# lab: --memory 2560 --cmdline 'hugepagesz=1G hugepages=1:1 default_hugepagesz=2M' --kernel 6.12 --qemu 11.1
# lab: --all --memory 2560 --cmdline 'hugepagesz=1G hugepages=1:1 default_hugepagesz=2M' --kernel all --qemu all
# fault: wrong-node the spec asks for node 1 where the test expects node 0
# fault: migrated after the start the guest's pages are moved to the other node
# fault: lost-pages the pool shrinks by one page while two VMs run
# fault: stuck-pages somebody keeps the pages that were added
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
at_end+=('for n in 0 1; do set_pages $n 0; done >/dev/null')

# --- one VM on node 0, in whose pool a part of its pages is free; exactly the rest is added ---------------------------------------
set_pages 0 10 >/dev/null
spec a vmrun.then=idle <<'TOML'
name = "a"
[cpu]
count = 2
[memory]
size = "128M"
page = "2M"
nodes = [0]
TOML
node=0
! fault wrong-node || node=1
up a --set "memory.nodes=[$node]"
! fault migrated || { set_pages 1 64 >/dev/null; migratepages "${qemu[a]}" 0 1; }
equal "node 0's pool, all and free: 10 were there, 54 were added" "64 0" "$(pages 0)"
equal "node 1's pool" "0 0" "$(pages 1)"
equal "huge pages by numa_maps" "0:64" "$(huge_pages "${qemu[a]}")"
fact "guest of 128M on node 0" "pool $(pages 0), numa_maps $(huge_pages "${qemu[a]}")"
check "they are bound to the node" grep -q 'bind:0 .* huge ' "/proc/${qemu[a]}/numa_maps"
stats=$(qmp /run/vmrun/a/qmp.sock '{"execute":"query-stats","arguments":{"target":"vm"}}')
huge=$(jq '[.return[].stats[] | select(.name == "pages_2m").value] | add' <<<"$stats")
check "KVM maps huge pages as huge pages (pages_2m: $huge)" test "${huge:-0}" -gt 0
fact "query-stats" "pages_2m $huge, pages_4k $(jq '[.return[].stats[] | select(.name == "pages_4k").value] | add' <<<"$stats")"
down a
equal "node 0's pool afterwards" "10 10" "$(pages 0)"

# --- two VMs that share the pool, ended in both orders ---------------------------------------------------------------------------
for name in b c; do
    rom_spec $name <<TOML
name = "$name"
[cpu]
pin = "off"
[memory]
size = "32M"
page = "2M"
nodes = [0]
TOML
done
for order in "b c" "c b"; do
    up b
    equal "pool with b" "16 0" "$(pages 0)"
    up c
    equal "pool with b and c" "32 0" "$(pages 0)"
    # shellcheck disable=SC2086
    set -- $order
    kill_vm "$1"
    ! fault lost-pages || set_pages 0 21 >/dev/null
    check "the pool keeps what $2 has, when $1 has ended ($(pages 0))" test "$(pages 0)" = "26 10" -o "$(pages 0)" = "16 0"
    equal "pages of $2" "0:16" "$(huge_pages "${qemu[$2]}")"
    ! fault stuck-pages || { fallocate -l 24M /dev/hugepages/stuck; at_end=("rm -f /dev/hugepages/stuck" "${at_end[@]}"); }
    kill_vm "$2"
    equal "pool as at first, ended $1 before $2" "10 10" "$(pages 0)"
done
set_pages 0 0 >/dev/null

# --- the page of 1G that node 1 was given at boot --------------------------------------------------------------------------------
equal "1G pages of node 1 before" "1 1" "$(pages 1 1048576)"
rom_spec g <<'TOML'
name = "g"
[cpu]
count = 2
[memory]
size = "1G"
page = "1G"
TOML
up g
equal "1G pages of node 1" "1 0" "$(pages 1 1048576)"
equal "1G pages by numa_maps" "1:1" "$(huge_pages "${qemu[g]}" 1048576)"
cpus=
for tid in $(vcpus g); do cpus+=${cpus:+,}$(cpus_of "$tid"); done
check "its vCPUs (on $cpus) are node 1's" inside "$cpus" "$(node_cpus 1)"
fact "guest of 1G" "1G pages $(huge_pages "${qemu[g]}" 1048576), vCPUs on $cpus"
refused "a second page of 1G on node 1 is refused, with numbers and holder" 2 "node 1 has 0 .*1G pages, this VM needs 1 \(held by g" vmrun run --set name=h --set 'memory.nodes=[1]' g.toml
kill_vm g
equal "1G pages of node 1 afterwards" "1 1" "$(pages 1 1048576)"

# --- a guest with memory of both nodes -------------------------------------------------------------------------------------------
spec n vmrun.then=idle <<'TOML'
name = "n"
[cpu]
count = 4
[memory]
size = "256M"
page = "2M"
nodes = [0, 1]
TOML
up n
equal "pages of the guest with two nodes" "0:64 1:64" "$(huge_pages "${qemu[n]}")"
guest_says n "cpus=4 nodes=2 "
guest_says n "node0 cpus=0-1 memory_kb=[0-9]* distance=10,21"
guest_says n "node1 cpus=2-3 memory_kb=[0-9]* distance=21,10"
mapfile -t tids < <(vcpus n)
for i in 0 1 2 3; do
    cpu=$(cpus_of "${tids[i]}")
    equal "vCPU $i of guest node $((i / 2)) on CPU $cpu of node" $((i / 2)) "$(node_of_cpu "$cpu")"
done
# What the guest counts on each of its nodes is somewhat less than its 128 MiB
for i in 0 1; do
    size=$(tr -d '\r' <n.log | sed -n "s/^guest: node$i .*memory_kb=\([0-9]*\).*/\1/p")
    check "guest's node $i has about 128 MiB ($size KiB)" test "$size" -gt 80000 -a "$size" -le 131072
done
fact "guest of two nodes" "$(tr -d '\r' <n.log | sed -n 's/^guest: \(node[01] .*\)/\1/p' | paste -sd';')"
down n

# --- a short node ----------------------------------------------------------------------------------------------------------------
free=$(awk '$3 == "MemFree:" { print int($4 / 1024) }' /sys/devices/system/node/node0/meminfo)
mkdir -p /mnt/filler
mount -t tmpfs -o size=4g,mpol=bind:0 filler /mnt/filler
at_end+=("umount /mnt/filler 2>/dev/null")
fallocate -l $((free - 560))M /mnt/filler/file
fact "free on node 0, nearly filled" "$(awk '$3 == "MemFree:" { print int($4 / 1024) }' /sys/devices/system/node/node0/meminfo) MiB"
rom_spec s <<'TOML'
name = "s"
[cpu]
count = 2
[memory]
size = "256M"
page = "2M"
TOML
refused "256M on the short node are refused, with numbers" 2 "node 0 .* needs" vmrun run --set 'memory.nodes=[0]' s.toml
equal "pools after that" "0 0" "$(pages 0)"
up s
equal "left to choose, it takes the other node" "1:128" "$(huge_pages "${qemu[s]}")"
kill_vm s
umount /mnt/filler
end
