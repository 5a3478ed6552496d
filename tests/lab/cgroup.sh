#!/bin/bash
# Control groups: every thread of a VM, vhost workers included, is from birth in the group that vmrun was started in. In an isolated
# cpuset partition it uses the partition's CPUs, and pins outside are refused.
# lab: --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel 6.1 --qemu 11.1
# lab: --all --smp 16,sockets=2,dies=2,cores=2,threads=2 --kernel all --qemu all
# fault: outside vmrun is started outside of the group
# fault: moved QEMU is moved to another group after the start
# fault: no-partition the group is no partition: its CPUs are the host's, too
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
top=/sys/fs/cgroup
at_end+=("rmdir $top/vm $top/part $top/elsewhere 2>/dev/null")
mkdir $top/vm $top/elsewhere
rom_spec a <<'TOML'
name = "a"
[cpu]
count = 2
[memory]
size = "32M"
page = "2M"
[[net]]
bridge = "br0"
queues = 2
[[disk]]
path = "/root/disk"
format = "raw"
TOML
truncate -s 16M /root/disk
at_end+=("rm -f /root/disk")

# in_group GROUP COMMAND...: the command, started in that group
in_group() {
    local group=$1
    shift
    bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}
# run, but in $group
run() {
    local name=$1
    shift
    rm -f "$name.log" "$name.err"
    touch "$name.log"
    bash -c 'echo $$ >"$0/cgroup.procs" && exec vmrun run "$@"' "$group" "$@" "$name.toml" >"$name.log" 2>"$name.err" </dev/null &
    keeper[$name]=$!
}

group=$top/vm
! fault outside || group=$top/elsewhere
up a
! fault moved || echo "${qemu[a]}" >$top/elsewhere/cgroup.procs
strays=''
count=0
for tid in $(threads "${qemu[a]}" | cut -d' ' -f1) $(vhost_workers "${qemu[a]}" | cut -d' ' -f1) "${keeper[a]}"; do
    count=$((count + 1))
    [ "$(cat "/proc/$tid/cgroup")" = 0::/vm ] || strays+="$tid $(cat "/proc/$tid/comm") in $(cat "/proc/$tid/cgroup"); "
done
equal "threads outside of the group" "" "$strays"
fact "threads in the group" "$count, vhost workers: $(vhost_workers "${qemu[a]}" | cut -d' ' -f2 | paste -sd' ')"
# vhost workers that are kernel threads count as processes of the group
for worker in $(vhost_workers "${qemu[a]}" | sed -n 's/ out$//p'); do check "kernel thread $worker is in cgroup.procs" grep -qx "$worker" $top/vm/cgroup.procs; done
fact "kernel threads of KVM" "$(kernel_threads "${qemu[a]}" | while read -r tid name; do echo "$name in $(cat "/proc/$tid/cgroup")"; done | paste -sd';')"
kill_vm a
check "the group is empty then" wait_for 10 eval "! grep -q . $top/vm/cgroup.procs"
as_before "machine as before"

# --- an isolated partition --------------------------------------------------------------------------------------------------------
echo +cpuset >$top/cgroup.subtree_control
mkdir $top/part
[ ! -e $top/part/cpuset.cpus.exclusive ] || echo 2-7 >$top/part/cpuset.cpus.exclusive
echo 2-7 >$top/part/cpuset.cpus
! fault no-partition && echo isolated >$top/part/cpuset.cpus.partition
at_end=("[ ! -d $top/part ] || echo member >$top/part/cpuset.cpus.partition" "${at_end[@]}")
equal "partition" isolated "$(cat $top/part/cpuset.cpus.partition)"
equal "CPUs that are left to the others" "0-1,8-15" "$(cat $top/cpuset.cpus.effective)"
group=$top/part
# Pins within it
up a --set 'cpu.pin="4-5"' --set 'cpu.emulator="2-3"'
used=
for tid in $(vcpus a); do used+=${used:+,}$(cpus_of "$tid"); done
equal "vCPUs in the partition" "4,5" "$used"
strays=
for tid in $(threads "${qemu[a]}" | cut -d' ' -f1) $(vhost_workers "${qemu[a]}" | cut -d' ' -f1); do
    inside "$(cpus_of "$tid")" 2-7 || strays+="$tid $(cat "/proc/$tid/comm") on $(cpus_of "$tid"); "
done
equal "threads outside of the partition's CPUs" "" "$strays"
fact "in the partition 2-7, pins 4-5 and 2-3" "vCPUs on $used, vhost on $(vhost_workers "${qemu[a]}" | while read -r tid _; do cpus_of "$tid"; done | paste -sd' ')"
kill_vm a
# Left to choose
up a
used=
for tid in $(vcpus a); do used+=${used:+,}$(cpus_of "$tid"); done
check "left to choose, vCPUs are on the partition's CPUs ($used)" inside "$used" 2-7
equal "on two of them" 2 "$(cpu_list "$used" | wc -w)"
check "and QEMU's own threads, too" inside "$(cpus_of "${qemu[a]}")" 2-7
fact "in the partition 2-7, auto" "vCPUs on $used, emulator on $(cpus_of "${qemu[a]}")"
kill_vm a
# Pins outside
refused "a vCPU's CPU outside of the partition is refused" '[12]' '.' in_group $top/part timeout -s KILL 60 vmrun run --set 'cpu.pin="12-13"' --set 'cpu.emulator="2-3"' a.toml
fact "refused" "$(grep -m1 -iE 'cpuset|no CPU' refused.txt)"
check "with a word of the cpuset" grep -qiE 'cpuset|this host has no CPU 12' refused.txt
refused "a vhost worker's CPU outside of the partition is refused" '[12]' '.' in_group $top/part timeout -s KILL 60 vmrun run --set 'cpu.pin="4-5"' --set 'cpu.emulator="8-9"' a.toml
check "with a word of the cpuset" grep -qiE 'cpuset|this host has no CPU' refused.txt
# Outside, the partition's CPUs are not to be had
group=$top/vm
up a
used=
for tid in $(vcpus a); do used+=${used:+,}$(cpus_of "$tid"); done
check "outside of the partition, vCPUs are on others' CPUs ($used)" inside "$used" 0-1,8-15
kill_vm a
refused "outside, a partition's CPU is refused" '[12]' '.' in_group $top/vm timeout -s KILL 60 vmrun run --set 'cpu.pin="4-5"' --set 'cpu.emulator="8-9"' a.toml
check "with a word of the cpuset" grep -qiE 'cpuset|this host has no CPU' refused.txt
echo member >$top/part/cpuset.cpus.partition
end
