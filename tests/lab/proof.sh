#!/bin/bash
# `vmrun verify` and `vmrun watch` on a VM with all that a plan can promise: as planned no row is lost; each drift that is planted is named,
# and nothing else; quiet windows are clean, and each disturbance has its offender named.
# lab: --all --kernel 6.12 --qemu 10.0 --nodes 2 --smp 8,sockets=2,cores=4,threads=1 --timeout 600
# lab: --all --kernel all --qemu all --nodes 2 --smp 8,sockets=2,cores=4,threads=1 --timeout 900
# fault: unmoved no drift is planted
# fault: quiet no disturbance is made
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
renice -n -20 $$ >/dev/null # what the test starts beside the VM is to be seen for what it does, not for its place in the queue
echo "+cpuset +cpu" >/sys/fs/cgroup/cgroup.subtree_control
mount -t tracefs none /sys/kernel/tracing 2>/dev/null
mount -t debugfs none /sys/kernel/debug 2>/dev/null
truncate -s 64M /root/disk
at_end+=("rm -f /root/disk")
spec a vmrun.disk=vda vmrun.then=idle <<'TOML'
name = "a"
[cpu]
count = 2
pin = "4-5"
emulator = "2"
[memory]
size = "128M"
page = "2M"
[[disk]]
path = "/root/disk"
format = "raw"
iothread = true
[[net]]
bridge = "br0"
vhost = true
mtu = 1500
[host]
isolate = true
max_latency_us = 0
TOML
up a
mapfile -t vcpu < <(vcpus a)
iothread=$(iothreads a | head -n 1)
worker=$(vhost_workers "${qemu[a]}" | cut -d' ' -f1 | head -n 1)
main=${qemu[a]}
tap=$(basename /sys/class/net/br0/brif/*)
partition=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/${vcpu[0]}/cgroup")
was_io=$(cpus_of "$iothread")
fact "threads: vCPUs, iothread, vhost, QEMU" "${vcpu[*]}, $iothread, $worker, $main"

# --- as planned, and drifts ------------------------------------------------------------------------------------------------------
# lost: the promises that are not held, without numbers of threads, on one line
lost() { vmrun verify a --json | jq -r '.rows[] | select(.outcome == "lost") | .what' | sed -E 's/ \([0-9]+\)//' | sort | paste -sd'|'; }
vmrun verify a >verify.txt
status=$?
check "as planned: exit code $status" [ $status = 0 -o $status = 5 ]
equal "as planned: what is not held" "" "$(lost)"
fact "verify" "$(tail -n 1 verify.txt)"
grep '^not checked' verify.txt | sed 's/^/        /'
# drift WHAT WANTED PLANT BACK: after PLANT exactly WANTED is lost; after BACK nothing is
drift() {
    fault unmoved || eval "$3" >plant.txt 2>&1 || { not_ok "$1 can be planted"; cat plant.txt; }
    equal "$1" "$2" "$(lost)"
    eval "$4" >plant.txt 2>&1
}
for i in 0 1; do
    drift "vCPU $i on another CPU" "vcpu $i: CPUs" "taskset -pc $((5 - i)) ${vcpu[i]}" "taskset -pc $((4 + i)) ${vcpu[i]}"
    drift "vCPU $i on one more CPU" "vcpu $i: CPUs" "taskset -pc 4-5 ${vcpu[i]}" "taskset -pc $((4 + i)) ${vcpu[i]}"
    drift "vCPU $i in real time" "vcpu $i: scheduling" "chrt -f -p 1 ${vcpu[i]}" "chrt -o -p 0 ${vcpu[i]}"
done
drift "vCPU 0 idle" "vcpu 0: scheduling" "chrt -i -p 0 ${vcpu[0]}" "chrt -o -p 0 ${vcpu[0]}"
drift "the iothread on another CPU" "iothread io-disk0: CPUs" "taskset -pc 3 $iothread" "taskset -pc $was_io $iothread"
drift "the iothread in real time" "iothread io-disk0: scheduling" "chrt -r -p 1 $iothread" "chrt -o -p 0 $iothread"
drift "the iothread as batch work" "iothread io-disk0: scheduling" "chrt -b -p 0 $iothread" "chrt -o -p 0 $iothread"
was=$(cpus_of "$worker")
drift "the vhost worker on a vCPU's CPU" "vhost: CPUs" "taskset -pc 3 $worker" "taskset -pc $was $worker"
drift "QEMU's main thread on another CPU" "emulator: CPUs" "taskset -pc 3 $main" "taskset -pc 2 $main"
drift "QEMU's main thread in real time" "emulator: scheduling" "chrt -f -p 1 $main" "chrt -o -p 0 $main"
drift "the partition is a member" "$partition/cpuset.cpus.partition" "echo member >$partition/cpuset.cpus.partition" "echo isolated >$partition/cpuset.cpus.partition"
drift "the latency limit of CPU 4" "/sys/devices/system/cpu/cpu4/power/pm_qos_resume_latency_us" \
    "echo 100 >/sys/devices/system/cpu/cpu4/power/pm_qos_resume_latency_us" "echo n/a >/sys/devices/system/cpu/cpu4/power/pm_qos_resume_latency_us"
drift "the tap's MTU, which its bridge follows" "net0: MTU of br0|net0: MTU of $tap" "ip link set $tap mtu 1400" "ip link set $tap mtu 1500"
sleep 1000 & sleeper=$!
at_end+=("kill $sleeper 2>/dev/null")
drift "another's task bound to the VM's CPU" "others' tasks on CPUs 4-5" "echo $sleeper >$partition/cgroup.procs; taskset -pc 4 $sleeper" "echo $sleeper >/sys/fs/cgroup/cgroup.procs; taskset -pc 0 $sleeper"
drift "another's real-time task" "others' tasks on CPUs 4-5" "echo $sleeper >$partition/cgroup.procs; taskset -pc 0-7 $sleeper; chrt -f -p 1 $sleeper" "chrt -o -p 0 $sleeper; echo $sleeper >/sys/fs/cgroup/cgroup.procs"
equal "all is as planned again" "" "$(lost)"

# --- windows ---------------------------------------------------------------------------------------------------------------------
# window SECONDS: one in out.json; its offenders as "what who" without numbers
window() { vmrun watch a --json --for "$1" >out.json 2>watch.err; }
offenders() { jq -r '.offenders[] | "\(.what) \(.who)"' out.json | sed -E 's/ \([0-9]+\)//g' | sort -u | paste -sd'|'; }
for i in 1 2 3 4 5; do
    window 2
    equal "quiet window $i" "" "$(offenders)"
done
check "every switch is traced" jq -e .window.traced out.json
jq -r '.window.not_checked[]' out.json | sed 's/^/        not checked: /'
counted() { cat /sys/kernel/debug/kvm/"$main"-*/exits | awk '{ sum += $1 } END { print sum }'; }
before=$(counted)
window 3
after=$(counted)
exits=$(jq '[.window.vcpus[].exits[] | select(.name == "exits") | .count] | add // 0' out.json)
fact "exits by watch, and by KVM's own files around it" "$exits, $((after - before))"
check "exits are KVM's" [ "$exits" -gt 0 -a "$exits" -le $((after - before)) -a $((exits * 5)) -ge $(((after - before) * 4)) ]

# disturbed WHAT PATTERN COMMAND: while COMMAND runs beside it, an offender is like PATTERN
disturbed() {
    local pid
    if fault quiet; then sleep 30 & else bash -c "$3" >disturb.txt 2>&1 & fi
    pid=$!
    sleep 0.3
    window 2
    kill $pid 2>/dev/null
    pkill -P $pid 2>/dev/null
    wait $pid 2>/dev/null
    check "$1: $2 ($(offenders | cut -c1-120))" eval "offenders | tr '|' '\n' | grep -qE '$2'"
}
there="echo \$\$ >$partition/cgroup.procs; taskset -pc 4 \$\$ >/dev/null"
disturbed "a busy loop" '^foreign-task bash' "$there; while :; do :; done"
disturbed "a real-time task for moments" '^foreign-task (bash|sleep)' "$there; chrt -f -p 1 \$\$; while :; do for i in {1..300}; do :; done; sleep 0.01; done"
disturbed "a stopped QEMU" '^stopped' "kill -STOP $main; sleep 1.5; kill -CONT $main; sleep 5"
disturbed "a pause" '^stopped' "sleep 0.5; vmrun pause a; sleep 0.5; vmrun resume a; sleep 5"
disturbed "a limit" '^limit ' "echo '2000 100000' >$partition/../cpu.max; sleep 5"
echo max >"$partition/../cpu.max"
rom_spec b <<'TOML'
name = "b"
[cpu]
pin = "off"
[memory]
size = "64M"
page = "4K"
merge = true
TOML
up b # somebody must have pages to compare
disturbed "KSM" '^ksm ' "echo 5000 >/sys/kernel/mm/ksm/pages_to_scan; echo 1 >/sys/kernel/mm/ksm/run; sleep 5"
echo 0 >/sys/kernel/mm/ksm/run
kill_vm b
disturbed "a vCPU that is moved and moved back" '^moved' "sleep 0.3; taskset -pc 5 ${vcpu[0]}; sleep 1.2; taskset -pc 4 ${vcpu[0]}; sleep 5"
window 2
equal "quiet again" "" "$(offenders)"
TIMEFORMAT='%U %S'
used=$({ time vmrun watch a --for 20 >/dev/null 2>&1; } 2>&1)
fact "CPU seconds of 20 s of watching (user, system), with all that a start costs" "$used"
kill_vm a
end
