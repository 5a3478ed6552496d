#!/bin/bash
# host.isolate: no foreign task runs on the VM's CPUs while it lives, with two busy tasks for each CPU of the host, against the
# count without it in the same run; and afterwards, also after kill -9, all that was taken is back.
# lab: --nodes 1 --smp 6,sockets=1,cores=3,threads=2 --kernel 6.12 --qemu 11.1 --timeout 600
# lab: --all --systemd --nodes 1 --smp 6,sockets=1,cores=3,threads=2 --kernel 6.1 --qemu 11.1 --timeout 600
# lab: --all --nodes 1 --smp 6,sockets=1,cores=3,threads=2 --kernel all --qemu 11.1 --timeout 600
# fault: left-out the spec does not ask for it
# fault: by-hand the partition is set back to member by hand, while the VM runs
# fault: intruder a task is put into the vCPUs' group
# fault: interrupt an interrupt is sent to the VM's CPUs by hand, while the VM runs
# fault: kept the partition is there again after the VM
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
renice -n -20 $$ >/dev/null # the test and what it starts: its load is to slow down only itself
top=/sys/fs/cgroup
echo "+cpuset +cpu" >$top/cgroup.subtree_control
mkdir $top/others
mount -t tracefs none /sys/kernel/tracing 2>/dev/null
trace=/sys/kernel/tracing
[ -e $trace/events/sched/sched_switch/enable ] || die "this kernel has no sched_switch events"
cp "$(command -v bash)" ./busy
loads=()
at_end+=('kill -9 "${loads[@]}" 2>/dev/null; rmdir $top/others 2>/dev/null')
# load N: N tasks that are always busy and may run anywhere, every second one in a group of its own
load() {
    local i
    for ((i = 0; i < $1; i++)); do
        nice -n 20 ./busy -c 'while :; do :; done' &
        loads+=($!)
        [ $((i % 2)) = 0 ] || echo $! >$top/others/cgroup.procs
    done
}
unload() {
    kill -9 "${loads[@]}"
    wait "${loads[@]}" 2>/dev/null
    loads=()
}

# state: everything that isolation and [host] change, as the kernel says
state() {
    find $top -name cpuset.cpus.effective | sort | xargs grep -H .
    grep -sH . $top/cpuset.cpus.isolated $top/*/cpuset.cpus.partition $top/cgroup.subtree_control
    [ -n "$effective" ] || grep -sH . $top/*/cpuset.cpus
    grep -sH . /proc/irq/*/smp_affinity_list /proc/irq/default_smp_affinity /sys/devices/virtual/workqueue/cpumask
    grep -H . /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us
}
effective='' # set: what groups may use counts, not whether their list says it (Linux 6.1 clears none while a task is in the group)
same_state() { [ "$before" = "$(state)" ]; }
state_as_before() {
    if wait_for 5 same_state; then ok "$1"; else not_ok "$1"; diff <(echo "$before") <(state) | sed 's/^/    /'; fi
}

# foreign PID: "SWITCHES NAMES": how often, in three seconds, a user's task that is none of that QEMU's threads was put on one of the
# CPUs 2-5, and which. A task that has ended since is counted: kernel threads stay.
foreign() {
    local pid count=0 names='' times
    echo 0 >$trace/tracing_on
    echo 3c >$trace/tracing_cpumask
    echo 1 >$trace/events/sched/sched_switch/enable
    echo >$trace/trace
    echo 1 >$trace/tracing_on
    sleep 3
    echo 0 >$trace/tracing_on
    echo 0 >$trace/events/sched/sched_switch/enable
    sed -n 's/.*prev_comm=\(.*\) prev_pid=\([0-9]*\) .*next_comm=\(.*\) next_pid=\([0-9]*\) .*/\2 \1\n\4 \3/p' $trace/trace |
        awk '$1 != 0 { count[$0]++ } END { for (one in count) print count[one], one }' >switches
    while read -r times pid name; do
        [ ! -e "/proc/$1/task/$pid" ] || continue
        if [ -e "/proc/$pid" ] && [ "$(cut -d' ' -f1 "/proc/$pid/statm")" = 0 ]; then continue; fi # a kernel thread
        count=$((count + times))
        [[ $names == *" $name"* ]] || names+=" $name"
    done <switches
    echo "$count$names"
}
kernel_on_them() { while read -r times pid name; do [ ! -e "/proc/$pid" ] || [ "$(cut -d' ' -f1 "/proc/$pid/statm")" != 0 ] || echo "$name $times"; done <switches | sort | paste -sd' '; }
# busy_there: busy tasks that are on one of these CPUs now
busy_there() { local pid; for pid in "${loads[@]}"; do sed 's/.*) //' "/proc/$pid/stat" | awk '$1 == "R" && $37 >= 2 && $37 <= 5'; done | wc -l; }
where() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }

rom_spec a <<'TOML'
name = "a"
[cpu]
count = 4
pin = "2-5"
emulator = "0-1"
[memory]
size = "32M"
page = "4K"
[[net]]
bridge = "br0"
[host]
max_latency_us = 0
TOML
before=$(state)

# --- without, in the same run ---------------------------------------------------------------------------------------------------
if [ -z "${LAB_FAULT:-}" ]; then # a fault is to be seen below
    up a
    load 12
    without=$(foreign "${qemu[a]}")
    fact "foreign tasks' switches on the VM's CPUs in 3 s, without" "$without"
    check "without it, others run there" [ "${without%% *}" -gt 0 ]
    check "and are seen there" [ "$(busy_there)" -gt 0 ]
    equal "max_latency_us = 0 on the VM's CPUs" "0 0 n/a n/a n/a n/a" "$(cat /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us | paste -sd' ')"
    kill_vm a
    unload
    state_as_before "all is as before"
fi

# --- isolated -------------------------------------------------------------------------------------------------------------------
load 6
isolated() { if fault left-out; then up "$@"; else up "$@" --set host.isolate=true; fi; }
isolated a
load 6
mapfile -t tids < <(vcpus a)
group=$(where "${tids[0]}")
! fault by-hand || echo member >"$top$group/cpuset.cpus.partition"
if fault intruder; then ./busy -c 'while :; do :; done' & loads+=($!); echo $! >"$top$group/cgroup.procs"; fi
! fault interrupt || echo 2-5 >/proc/irq/4/smp_affinity_list
with=$(foreign "${qemu[a]}")
fact "with it" "$with"
fact "kernel threads' switches there" "$(kernel_on_them)"
equal "foreign tasks on the VM's CPUs" 0 "$with"
equal "busy tasks seen there" 0 "$(busy_there)"
unload
[ ! -d /run/systemd/system ] || check "systemd realizes its cgroups anew" eval "systemctl daemon-reload && systemd-run --quiet --wait -p CPUWeight=50 true"
fact "group of vCPU 0; of QEMU" "$group; $(where "${qemu[a]}")"
equal "the partition" isolated "$(cat "$top$group/cpuset.cpus.partition")"
equal "CPUs left to all others" 0-1 "$(cat $top/cpuset.cpus.effective)"
equal "and to their groups" 0-1 "$(cat $top/others/cpuset.cpus.effective)"
equal "all vCPUs are in it" "$group" "$(for tid in "${tids[@]}"; do where "$tid"; done | sort -u)"
equal "each on its CPU" "2 3 4 5" "$(for tid in "${tids[@]}"; do cpus_of "$tid"; done | paste -sd' ')"
equal "and nobody else" "$(printf '%s\n' "${tids[@]}" | sort -n | paste -sd' ')" "$(sort -n "$top$group/cgroup.threads" | paste -sd' ')"
equal "vhost's and QEMU's other threads are on the emulator's CPUs" 0-1 "$({ threads "${qemu[a]}"; vhost_workers "${qemu[a]}"; } | while read -r tid _; do [[ " ${tids[*]} " == *" $tid "* ]] || cpus_of "$tid"; done | sort -u | paste -sd' ')"
# the disk's own queues are those that the kernel does not let go
for handler in /proc/irq/[0-9]*/*/; do
    list=$(cat "${handler%/*/}/smp_affinity_list")
    [[ $handler == */nvme0q[1-9]*/ ]] || [ -z "$(without "$list" 0-1)" ] || echo "$handler on $list"
done >stray
equal "interrupts that may still go there" "" "$(cat stray)"
equal "unbound work of the kernel" 3 "$(sed 's/^0*//' /sys/devices/virtual/workqueue/cpumask)"
equal "interrupts to come" 3 "$(sed 's/^0*//' /proc/irq/default_smp_affinity)"
check "nobody can turn the controller off meanwhile" eval "! echo -cpuset 2>/dev/null >$top/cgroup.subtree_control"
check "vmrun show tells the partition" eval "vmrun show a | grep -q 'cpuset.cpus.partition: isolated'"
echo member >"$top$group/cpuset.cpus.partition"
refused "and when it is one no more" 1 'partition: member NOT AS WANTED' vmrun show a
echo isolated >"$top$group/cpuset.cpus.partition"
check "vmrun tells which interrupts it left" grep -q 'left as it was: /proc/irq/.*/smp_affinity_list' a.err
kill_vm a
! fault kept || { mkdir $top/again && echo 2-5 >$top/again/cpuset.cpus && echo isolated >$top/again/cpuset.cpus.partition; at_end+=("rmdir $top/again"); }
state_as_before "all is as before"

# --- kill -9, and two VMs in both orders ----------------------------------------------------------------------------------------
isolated a
kill -9 "${keeper[a]}"
wait "${keeper[a]}" 2>/dev/null
unset "keeper[a]"
check "after kill -9 of vmrun, vmrun recover" vmrun recover
state_as_before "all is as before"
sed 's/^name = .*/name = "b"/; s/^count = .*/count = 2/; s/^pin = .*/pin = "4-5"/' a.toml >b.toml
sed -i 's/^count = .*/count = 2/; s/^pin = .*/pin = "2-3"/' a.toml
for order in "a b" "b a"; do
    isolated a
    isolated b
    equal "two VMs, CPUs left to all others" 0-1 "$(cat $top/cpuset.cpus.effective)"
    kill_vm "${order% *}"
    [ "$order" = "a b" ] && left=0-3 || left=0-1,4-5
    equal "$order: one has ended" $left "$(cat $top/cpuset.cpus.effective)"
    kill_vm "${order#* }"
    state_as_before "$order: all is as before"
done

# --- beside a weight, and a quota ------------------------------------------------------------------------------------------------
isolated a --set schedule.weight=300
own=$top$(where "${qemu[a]}")
equal "the weight of QEMU's group" 300 "$(cat "$own/cpu.weight")"
equal "beside the partition" isolated "$(cat "$top$(where "$(vcpus a | head -n 1)")/cpuset.cpus.partition")"
kill_vm a
if [ -e $top/cpuset.cpus.isolated ]; then
    isolated a --set schedule.quota=150
    equal "a quota over both" "150000 100000" "$(cat "$top$(where "${qemu[a]}")/cpu.max")"
    kill_vm a
fi
state_as_before "all is as before"

# --- where there can be no partition: the groups lose the CPUs --------------------------------------------------------------------
if [ ! -e $top/cpuset.cpus.isolated ]; then
    echo 0-2 >$top/others/cpuset.cpus
    effective=1
    before=$(state)
    load 6
    check "vmrun plan tells why" eval "vmrun plan --set host.isolate=true a.toml | grep -q 'no partition (.*/others has CPUs 2 '"
    isolated a
    equal "CPUs left to the group" 0-1 "$(cat $top/others/cpuset.cpus.effective)"
    for pid in "${loads[@]}"; do [ "$(where "$pid")" != /others ] || cpus_of "$pid"; done | sort -u >group.cpus
    equal "and to its tasks" 0-1 "$(cat group.cpus)"
    kill_vm a
    unload
    state_as_before "all is as before"
    echo >$top/others/cpuset.cpus
fi
rmdir $top/others
end
