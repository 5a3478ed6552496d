#!/bin/bash
# What vmrun was allowed bounds the VM: under taskset, numactl, a cpuset of cgroup v2 or v1 and a unit's AllowedCPUs, every thread of
# the VM and every page of its memory stays within, and a VM that needs more is refused with what bounds it.
# lab: --kernel 6.12 --qemu 10.0
# lab: --all --kernel all --qemu all
# lab: --all --systemd --kernel all --qemu 11.1
# lab: --all --systemd --kernel 6.1 --qemu 10.0 --cmdline systemd.unified_cgroup_hierarchy=0
# fault: stray a vCPU's thread is moved outside
# fault: unbound vmrun is started without the bound
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
at_end+=('rmdir /sys/fs/cgroup/bound /mnt/cpuset/bound 2>/dev/null; umount /mnt/cpuset 2>/dev/null; rmdir /mnt/cpuset 2>/dev/null')
rom_spec a <<'TOML'
name = "a"
[cpu]
count = 2
[memory]
size = "64M"
page = "2M"
[[net]]
bridge = "br0"
queues = 2
TOML
rom_spec c <<'TOML'
name = "c"
[cpu]
count = 6
[memory]
size = "64M"
page = "2M"
TOML
rom_spec b <<'TOML'
name = "b"
[cpu]
count = 2
pin = "off"
[memory]
size = "64M"
page = "4K"
prealloc = true
TOML

# pages_of PID: "NODE ..." on which the guest's memory lies (its mappings of 64 MiB; files that others map too are not the VM's)
pages_of() {
    awk '{ pages = 0; for (i = 3; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split(substr($i, 2), part, "="); pages += part[2] }
           size = / huge / ? 2048 : 4
           if (pages * size >= 65536) for (i = 3; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split(substr($i, 2), part, "="); if (part[2] * size >= 1024) seen[part[1]] } }
        END { for (node in seen) print node }' "/proc/$1/numa_maps" | sort -n | paste -sd' '
}
# within WHAT CPUS NODES COMMAND...: COMMAND (which runs its arguments) bounds vmrun; VMs a and b stay within
within() {
    local what=$1 cpus=$2 nodes=$3 name pid stray tid list word
    shift 3
    ! fault unbound || set --
    for name in a b; do
        rm -f $name.log; touch $name.log
        "$@" vmrun run $name.toml >$name.log 2>$name.err </dev/null &
        keeper[$name]=$!
        if ! wait_for 300 eval "grep -q 'vmrun-rom up' $name.log || ! kill -0 ${keeper[$name]}" || ! grep -q 'vmrun-rom up' $name.log; then
            not_ok "$what: VM $name runs"
            cat $name.err
            continue
        fi
        pid=$(qemu_of $name)
        ! fault stray || taskset -pc 0-1 "$(vcpus $name | head -n 1)" >/dev/null
        stray=
        while read -r tid list word; do
            inside "$list" "$cpus" || stray+="$word on $list; "
        done < <(threads "$pid"; vhost_workers "$pid" | while read -r tid word; do echo "$tid $(cpus_of "$tid") vhost"; done
            kernel_threads "$pid" | grep -v kvm-pit | while read -r tid word; do echo "$tid $(cpus_of "$tid") $word"; done)
        equal "$what, VM $name: threads that are not on CPUs $cpus" "" "$stray"
        check "$what, VM $name: its memory is on nodes $nodes" inside "$(pages_of "$pid" | tr ' ' ,)" "$nodes"
        fact "$what, VM $name" "vCPUs on $(for tid in $(vcpus $name); do cpus_of "$tid"; done | paste -sd' '), memory on node $(pages_of "$pid")"
        vmrun kill $name >/dev/null 2>&1
        wait "${keeper[$name]}" 2>/dev/null
        unset "keeper[$name]"
    done
    fault unbound || refused "$what: more is refused, with what bounds it" 2 'vmrun was not allowed more: .*CPUs ' "$@" vmrun plan c.toml
    as_before "$what: the machine is as before"
}
# --- masks and policies -----------------------------------------------------------------------------------------------------------
within "numactl -N 1 -m 1" 4-7 1 numactl -N 1 -m 1
within "taskset -c 2-3,6-7" 2-3,6-7 0-1 taskset -c 2-3,6-7
# --- a cpuset, v2 -------------------------------------------------------------------------------------------------------------------
in_group() { # FILE COMMAND...: in the group of that cgroup.procs
    local procs=$1
    shift
    bash -c 'echo $$ >"$0" && exec "$@"' "$procs" "$@"
}
# in_v1 CPUSET: a group of v1 in that hierarchy of cpusets
in_v1() {
    mkdir "$1/bound"
    echo 4-7 >"$1/bound/cpuset.cpus"
    echo 1 >"$1/bound/cpuset.mems"
    within "a cpuset of v1" 4-7 1 in_group "$1/bound/cgroup.procs"
    check "the group is empty again" rmdir "$1/bound"
}
if [ -d /sys/fs/cgroup/cpuset ]; then
    # --- v1 as a host that boots with it has it: a hierarchy for each controller ----------------------------------------------------------
    in_v1 /sys/fs/cgroup/cpuset
    mkdir /sys/fs/cgroup/memory/bound
    echo 48M >/sys/fs/cgroup/memory/bound/memory.limit_in_bytes
    refused "a limit of v1: 64M in base pages are refused, with what bounds them" 2 \
        'memory.size: .*vmrun was not allowed more: .*memory.limit_in_bytes of cgroup /bound' in_group /sys/fs/cgroup/memory/bound/cgroup.procs vmrun plan b.toml
    rmdir /sys/fs/cgroup/memory/bound
elif [ -d /run/systemd/system ]; then
    # --- a unit ------------------------------------------------------------------------------------------------------------------
    within "AllowedCPUs=4-7, AllowedMemoryNodes=1" 4-7 1 systemd-run --quiet --pipe --wait --collect --same-dir -E "PATH=$PATH" \
        -p AllowedCPUs=4-7 -p AllowedMemoryNodes=1
else
    echo "+cpuset" >/sys/fs/cgroup/cgroup.subtree_control
    mkdir /sys/fs/cgroup/bound
    echo 4-7 >/sys/fs/cgroup/bound/cpuset.cpus
    echo 1 >/sys/fs/cgroup/bound/cpuset.mems
    within "a cpuset of v2" 4-7 1 in_group /sys/fs/cgroup/bound/cgroup.procs
    check "the group is empty again" rmdir /sys/fs/cgroup/bound
    echo "-cpuset" >/sys/fs/cgroup/cgroup.subtree_control
    # --- and v1 beside it, which Debian's 6.1 has: its controller leaves v2 when nobody there uses it any more ------------------------------
    mkdir /mnt/cpuset
    if wait_for 10 mount -t cgroup -o cpuset none /mnt/cpuset; then
        machine=$(machine_state)
        in_v1 /mnt/cpuset
        umount /mnt/cpuset
        machine=$(machine_state)
    elif [ "$LAB_KERNEL" = 6.1 ]; then
        not_ok "a cpuset of v1 can be had"
    else
        fact "a cpuset of v1" "this kernel has none (CONFIG_CPUSETS_V1)"
    fi
fi
end
