#!/bin/bash
# Every thread of a VM is where the plan says: vCPUs alone on CPUs of one node and one L3, siblings as siblings, all others on CPUs
# that no VM owns, also those that come late. A second VM gets other CPUs, and what does not fit is refused with numbers.
# lab: --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel 6.12 --qemu 7.2
# lab: --all --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel all --qemu all
# lab: --all --nodes 4 --kernel 6.12 --qemu 11.1
# fault: wrong-pin a vCPU's thread is moved to another CPU of its node
# fault: stray-iothread the iothread is moved onto a vCPU's CPU
# fault: strayed-pages pages of a guest node by hand are moved to the other node of the host
# fault: forgotten-claim the first VM's plan is taken out of the ledger, so that the second gets the same CPUs
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
truncate -s 64M /root/disk
at_end+=("rm -f /root/disk")

spec a vmrun.ip=10.9.0.2 vmrun.gw=10.9.0.1 vmrun.disk=vda vmrun.then=idle <<'TOML'
name = "a"
[cpu]
count = 4
[memory]
size = "128M"
page = "2M"
[[disk]]
path = "/root/disk"
format = "raw"
[[net]]
bridge = "br0"
queues = 2
TOML
rom_spec b <<'TOML'
name = "b"
[cpu]
count = 4
[memory]
size = "32M"
page = "2M"
[[net]]
bridge = "br0"
queues = 2
TOML
rom_spec c <<'TOML'
name = "c"
[cpu]
count = 14
[memory]
size = "32M"
page = "2M"
TOML

# What may be used for vCPUs is reckoned here from sysfs: the first core of a node is the host's where it has more than two.
keepers=
for node in /sys/devices/system/node/node[0-9]*; do
    list=$(cat "$node/cpulist")
    [ "$(cpu_list "$list" | wc -w)" -le 4 ] || keepers+=${keepers:+,}$(siblings "$(cpu_list "$list" | cut -d' ' -f1)")
done
fact "CPUs that stay the host's" "${keepers:-none}"

plan=$(vmrun plan --json a.toml) || die "no plan"
mapfile -t planned < <(jq -r '.placement.vcpus | sort_by(.vcpu)[].cpu' <<<"$plan")
as_before "the machine after a mere plan"

# Of nodes that are alike the one with more free memory is taken; that it is the same one a moment later, all others have clearly less.
fill() {
    local node
    for node in /sys/devices/system/node/node[0-9]*; do
        node=${node##*node}
        [ "$node" != "$1" ] || continue
        mkdir -p "/mnt/filler$node"
        mount -t tmpfs -o "size=64m,mpol=bind:$node" filler "/mnt/filler$node"
        fallocate -l 64M "/mnt/filler$node/file"
    done
}
fill "$(node_of_cpu "${planned[0]}")"
at_end+=('umount /mnt/filler* 2>/dev/null')
up a
check "what was filled is free again" umount /mnt/filler*
pid=${qemu[a]}
mapfile -t tids < <(vcpus a)
equal "vCPU threads" 4 "${#tids[@]}"
! fault wrong-pin || taskset -pc "$(cpu_list "$(without "$(node_cpus "$(node_of_cpu "${planned[1]}")")" "${planned[1]}")" | cut -d' ' -f1)" "${tids[1]}" >/dev/null
! fault stray-iothread || taskset -pc "${planned[3]}" "$(iothreads a)" >/dev/null
mine=
for i in 0 1 2 3; do
    cpu=$(cpus_of "${tids[i]}")
    equal "vCPU $i may run on the planned CPU only" "${planned[i]}" "$cpu"
    fact "vCPU $i" "CPU $cpu, node $(node_of_cpu "${cpu%%[-,]*}"), core with $(siblings "${cpu%%[-,]*}"), L3 with $(shares_l3 "${cpu%%[-,]*}")"
    mine+=${mine:+,}$cpu
done
node=$(node_of_cpu "${planned[0]}")
equal "different CPUs" 4 "$(cpu_list "$mine" | wc -w)"
check "all of node $node" inside "$mine" "$(node_cpus "$node")"
check "all of one L3" inside "$mine" "$(shares_l3 "${planned[0]}")"
[ -z "$keepers" ] || equal "none of the host's own" "$(cpu_list "$mine")" "$(cpu_list "$(without "$mine" "$keepers")")"
for i in 0 2; do
    equal "vCPUs $i and $((i + 1)) are the threads of one core" "$(siblings "${planned[i]}")" "$(cpus_of "${tids[i]}")-$(cpus_of "${tids[i + 1]}")"
    guest_says a "cpu$i smt=$i-$((i + 1)) "
    guest_says a "cpu$i .* l3=0-3"
done
guest_says a "disk vda write and read ok"
guest_says a "ping 10.9.0.1 3/3"

# All other threads: on the host's CPUs of that node; where a node has none to spare, on CPUs that are no vCPU's.
helpers=$(without "$(cat /sys/devices/system/cpu/online)" "$mine")
[ -z "$keepers" ] || helpers=$(comm -12 <(cpu_list "$keepers" | tr ' ' '\n' | sort) <(cpu_list "$(node_cpus "$node")" | tr ' ' '\n' | sort) | paste -sd,)
others=0 stray='' late=''
while read -r tid cpus name; do
    case " ${tids[*]} " in *" $tid "*) continue ;; esac
    others=$((others + 1))
    case $name in
        # They come with the vCPUs' first run and with I/O: somewhere within the VM's CPUs. But Linux 6.1 puts workers of io_uring on
        # all CPUs of their node, and lets nobody change that (io-wq.c: PF_NO_SETAFFINITY); only a cpuset would hold them.
        kvm-nx-lpage* | iou-wrk-*)
            late+="$name on $cpus; "
            case $LAB_KERNEL:$name in 6.1:iou-wrk-*) where=$(node_cpus "$node") ;; *) where=$mine,$helpers ;; esac
            inside "$cpus" "$where" || stray+="$tid $name on $cpus; "
            ;;
        *) inside "$cpus" "$helpers" || stray+="$tid $name on $cpus; " ;;
    esac
done < <(threads "$pid")
equal "threads of QEMU that stray from CPUs $helpers" "" "$stray"
fact "other threads" "$others on CPUs $helpers"
fact "late threads" "${late:-none}"
check "an iothread is there, on them" inside "$(cpus_of "$(iothreads a)")" "$helpers"
mapfile -t workers < <(vhost_workers "$pid")
equal "vhost workers" 2 "${#workers[@]}"
for worker in "${workers[@]}"; do
    check "vhost worker (${worker#* } of QEMU) on CPUs $helpers" inside "$(cpus_of "${worker% *}")" "$helpers"
done
fact "vhost workers are" "${workers[0]#* } of QEMU's threads"
stray=
while read -r tid name; do
    case $name in kvm-pit*) stray+="$name " ;; *) inside "$(cpus_of "$tid")" "$mine,$helpers" || stray+="$name on $(cpus_of "$tid") " ;; esac
done < <(kernel_threads "$pid")
equal "kernel threads of KVM's that stray, and kvm-pit" "" "$stray"

! fault forgotten-claim || rm /run/vmrun/a/plan.json
refused "4 vCPUs more do not fit on a's node" 2 "node $node has" vmrun plan --set cpu.count=4 --set "memory.nodes=[$node]" c.toml
up b
theirs=
for tid in $(vcpus b); do theirs+=${theirs:+,}$(cpus_of "$tid"); done
equal "CPUs of b that are a's" "" "$(comm -12 <(cpu_list "$theirs" | tr ' ' '\n' | sort) <(cpu_list "$mine" | tr ' ' '\n' | sort) | paste -sd,)"
other=$(node_of_cpu "${theirs%%,*}")
check "b lies on another node, all of it" test "$other" != "$node" -a "$(without "$theirs" "$(node_cpus "$other")")" = ""
fact "second VM" "CPUs $theirs, node $other"
refused "14 vCPUs more are refused, the holders named" 2 "cpu.count: 14 vCPUs need 7 whole free cores" vmrun run c.toml
check "with a as the holder of node $node" grep -q "node $node has [^;]*(held by a (" refused.txt
check "and b of node $other" grep -q "node $other has [^;]*(held by b (" refused.txt
refused "CPUs of a are refused to another by list" 2 "belongs? to the VM a" vmrun plan --set "cpu.count=4" --set "cpu.pin=\"$mine\"" c.toml
kill_vm b
down a
check "the guest powered off by itself" grep -q "the guest powered off" a.err

# --- guest nodes by hand, on two nodes of the host -----------------------------------------------------------------------------------
rom_spec d <<'TOML'
name = "d"
[cpu]
count = 4
[memory]
page = "2M"
prealloc = true
[[numa]]
vcpus = [0, 2]
size = "32M"
nodes = [1]
[[numa]]
vcpus = [1, 3]
size = "48M"
nodes = [0]
[[numa]]
vcpus = "none"
size = "16M"
nodes = [1]
TOML
up d
pid=${qemu[d]}
! fault strayed-pages || migratepages "$pid" 1 0
equal "nodes of the CPUs of d's vCPUs" "1 0 1 0" "$(for tid in $(vcpus d); do node_of_cpu "$(cpus_of "$tid")"; done | xargs)"
# A guest node is a mapping of its own, so many pages of 2M long
pages_of_node() { awk -v pages="$1" '/ huge / { for (i = 3; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split(substr($i, 2), part, "="); sum += part[2]; where = where " " part[1] ":" part[2] }
    if (sum == pages) print substr(where, 2); sum = 0; where = "" }' "/proc/$pid/numa_maps"; }
equal "pages of its first node, by the host's nodes" 1:16 "$(pages_of_node 16)"
equal "of its second" 0:24 "$(pages_of_node 24)"
equal "of its third, which has no vCPUs" 1:8 "$(pages_of_node 8)"
# (How the processor maps it cannot be told of a guest that halts at once.)
check "vmrun verify finds nothing that is not as planned" sh -c "vmrun verify d | grep -q ' held, 0 not held, 1 not checked'"
check "and looks at the memory of each node" sh -c "vmrun verify d | grep -q \"memory of the guest's node 2\""
fact "guest nodes by hand" "vCPUs on CPUs $(for tid in $(vcpus d); do cpus_of "$tid"; done | paste -sd' '), huge pages by the host's nodes: $(huge_pages "$pid")"
kill_vm d
end
