#!/bin/bash
# `vmrun verify` and `vmrun watch` on a VM with all that a plan can promise: as planned no row is lost; each drift that is planted is named,
# and nothing else; quiet windows are clean, and each disturbance has its offender named.
# lab: --all --kernel 6.12 --qemu 10.0 --nodes 2 --smp 8,sockets=2,cores=4,threads=1 --timeout 1200
# lab: --all --kernel all --qemu all --nodes 2 --smp 8,sockets=2,cores=4,threads=1 --timeout 1200
# fault: unmoved no drift is planted
# fault: quiet no disturbance is made
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
renice -n -20 $$ >/dev/null # what the test starts beside the VM is to be seen for what it does, not for its place in the queue
echo "+cpuset +cpu +memory" >/sys/fs/cgroup/cgroup.subtree_control
mount -t tracefs none /sys/kernel/tracing 2>/dev/null
mount -t debugfs none /sys/kernel/debug 2>/dev/null
# Behind what the guest writes: ethtool and its libraries. The guest does what is typed at its console.
truncate -s 64M /root/disk
mapfile -t tools < <(ldd "$(command -v ethtool)" | grep -o '/[^ ]*')
tar -c --dereference --transform 's,.*/,,' -P "$(command -v ethtool)" "${tools[@]}" | dd of=/root/disk bs=1M seek=16 conv=notrunc status=none
mkfifo /root/console
exec {console}<>/root/console
at_end+=("rm -f /root/disk /root/console")
listen=vmrun.do=$(base64 -w0 <<'GUEST'
mkdir /tmp/tools
dd if=/dev/vda bs=1M skip=16 2>/dev/null | tar -x -C /tmp/tools
ethtool() { /tmp/tools/ld-linux-x86-64.so.2 --library-path /tmp/tools /tmp/tools/ethtool "$@"; }
(while read -r line; do eval "$line"; done) </dev/ttyS0 &
GUEST
)
spec a vmrun.disk=vda "$listen" vmrun.then=idle <<'TOML'
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
queues = 2
mtu = 1500
[host]
isolate = true
max_latency_us = 0
TOML
input=/dev/fd/$console up a
mapfile -t vcpu < <(vcpus a)
iothread=$(iothreads a | head -n 1)
worker=$(vhost_workers "${qemu[a]}" | cut -d' ' -f1 | head -n 1)
main=${qemu[a]}
tap=$(basename /sys/class/net/br0/brif/*)
partition=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/${vcpu[0]}/cgroup")
outside=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$iothread/cgroup")
was_io=$(cpus_of "$iothread")
# queues NUMBER: that many of the card's are on in the guest
queues() { echo "ethtool -L eth0 combined $1 && say $1 queues" >&"$console"; wait_for 60 grep -q "^guest: $1 queues" a.log; }
fact "threads: vCPUs, iothread, vhost, QEMU" "${vcpu[*]}, $iothread, $worker, $main"

# --- as planned, and drifts ------------------------------------------------------------------------------------------------------
# lost: the promises that are not held, without numbers of threads, on one line
lost() { vmrun verify "${of:-a}" --json | jq -r '.rows[] | select(.outcome == "lost") | .what' | sed -E 's/ \([0-9]+\)//' | sort | paste -sd'|'; }
vmrun verify a >verify.txt
status=$?
check "as planned: exit code $status" [ $status = 0 -o $status = 5 ]
equal "as planned: what is not held" "" "$(lost)"
equal "the disk's requests go by io_uring" held "$(vmrun verify a --json | jq -r '.rows[] | select(.what == "/root/disk: requests by io_uring").outcome')"
fact "verify" "$(tail -n 1 verify.txt)"
grep -E '^not (checked|held)' verify.txt | sed 's/^/        /'
# drift WHAT WANTED PLANT BACK: after PLANT exactly WANTED is lost; after BACK nothing is
drifts=0
drift() {
    drifts=$((drifts + 1))
    fault unmoved || eval "$3" >plant.txt 2>&1 || { not_ok "$1 can be planted"; cat plant.txt; }
    found=$(lost)
    equal "$1" "$2" "$found"
    fact "drift: $1" "${found:-nothing}"
    eval "$4" >plant.txt 2>&1 || { not_ok "$1 can be taken back"; cat plant.txt; }
}
for i in 0 1; do
    drift "vCPU $i on another CPU" "vcpu $i: CPUs" "taskset -pc $((5 - i)) ${vcpu[i]}" "taskset -pc $((4 + i)) ${vcpu[i]}"
    drift "vCPU $i on one more CPU" "vcpu $i: CPUs" "taskset -pc 4-5 ${vcpu[i]}" "taskset -pc $((4 + i)) ${vcpu[i]}"
    drift "vCPU $i in real time" "vcpu $i: scheduling" "chrt -f -p 1 ${vcpu[i]}" "chrt -o -p 0 ${vcpu[i]}"
done
drift "vCPU 0 idle" "vcpu 0: scheduling" "chrt -i -p 0 ${vcpu[0]}" "chrt -o -p 0 ${vcpu[0]}"
drift "vCPU 1 as batch work" "vcpu 1: scheduling" "chrt -b -p 0 ${vcpu[1]}" "chrt -o -p 0 ${vcpu[1]}"
drift "the vCPUs have changed places" "vcpu 0: CPUs|vcpu 1: CPUs" "taskset -pc 5 ${vcpu[0]}; taskset -pc 4 ${vcpu[1]}" "taskset -pc 4 ${vcpu[0]}; taskset -pc 5 ${vcpu[1]}"
drift "the iothread on another CPU" "iothread io-disk0: CPUs" "taskset -pc 3 $iothread" "taskset -pc $was_io $iothread"
drift "the iothread on one more CPU" "iothread io-disk0: CPUs" "taskset -pc 3,$was_io $iothread" "taskset -pc $was_io $iothread"
drift "the iothread in real time" "iothread io-disk0: scheduling" "chrt -r -p 1 $iothread" "chrt -o -p 0 $iothread"
drift "the iothread as batch work" "iothread io-disk0: scheduling" "chrt -b -p 0 $iothread" "chrt -o -p 0 $iothread"
was=$(cpus_of "$worker")
drift "the vhost worker on a vCPU's CPU" "vhost: CPUs" "taskset -pc 3 $worker" "taskset -pc $was $worker"
drift "a vCPU's thread out of the partition" "vcpu 0: CPUs|vcpu 0: group" "echo ${vcpu[0]} >$outside/cgroup.threads" \
    "echo ${vcpu[0]} >$partition/cgroup.threads; taskset -pc 4 ${vcpu[0]}"
drift "the iothread's thread in the partition" "iothread io-disk0: CPUs|iothread io-disk0: group" "echo $iothread >$partition/cgroup.threads" \
    "echo $iothread >$outside/cgroup.threads; taskset -pc $was_io $iothread"
drift "QEMU's main thread on another CPU" "emulator: CPUs" "taskset -pc 3 $main" "taskset -pc 2 $main"
drift "QEMU's main thread on one more CPU" "emulator: CPUs" "taskset -pc 2-3 $main" "taskset -pc 2 $main"
drift "QEMU's main thread idle" "emulator: scheduling" "chrt -i -p 0 $main" "chrt -o -p 0 $main"
drift "QEMU's main thread in real time" "emulator: scheduling" "chrt -f -p 1 $main" "chrt -o -p 0 $main"
held=${partition%/*} # what has limits: the VM's own group, or its partition where that lies at the top
[ -e "$held/cpu.max" ] || held=$partition
for cpu in 4 5; do
    limit=/sys/devices/system/cpu/cpu$cpu/power/pm_qos_resume_latency_us
    drift "the latency limit of CPU $cpu" "$limit" "echo 100 >$limit" "echo n/a >$limit"
done
drift "the tap's MTU, which its bridge follows" "net0: MTU of br0|net0: MTU of $tap" "ip link set $tap mtu 1400" "ip link set $tap mtu 1500"
drift "the bridge's MTU alone" "net0: MTU of br0" "ip link set br0 mtu 1400" "ip link set br0 mtu 1500"
drift "a queue that the guest turned off" "net0: queues in use" "queues 1" "queues 2"
# return_memory: the guest's pages to node 1. The kernel leaves a page that is in use at that moment where it is: more than once then.
return_memory() {
    local i
    for i in {1..50}; do
        migratepages "$main" 0 1
        grep -q ' huge .* N0=' "/proc/$main/numa_maps" || return 0
        sleep 0.1
    done
    echo "after $i times: $(grep ' huge .* N0=' "/proc/$main/numa_maps")"
    grep -H . /sys/devices/system/node/node*/hugepages/hugepages-2048kB/{nr,free,surplus}_hugepages
    return 1
}
export -f return_memory
export main
set_pages 0 64 >/dev/null
drift "the guest's memory on the other node" "guest memory on node 1|guest memory on other nodes" "migratepages $main 1 0" return_memory
set_pages 0 0 >/dev/null
was=$(cat /proc/irq/9/smp_affinity_list)
drift "another's interrupt on the VM's CPU" "others' interrupts on CPUs 4-5" "echo 4 >/proc/irq/9/smp_affinity_list" "echo $was >/proc/irq/9/smp_affinity_list"
for file in /proc/irq/default_smp_affinity /sys/devices/virtual/workqueue/cpumask; do
    was=$(cat $file)
    drift "the VM's CPUs in $(basename $file)" $file "echo ff >$file" "echo $was >$file"
done
drift "a vCPU's nice value" "vcpu 0: nice" "renice -n 5 -p ${vcpu[0]}" "renice -n -20 -p ${vcpu[0]}"
drift "QEMU's main thread first for its disk" "emulator: I/O priority" "ionice -c 1 -n 0 -p $main" "ionice -c 0 -p $main"
drift "the vhost worker as batch work" "vhost: scheduling" "chrt -b -p 0 $worker" "chrt -o -p 0 $worker"
drift "a limit of CPU time above" "CPU time of $held" "echo '150000 100000' >$held/cpu.max" "echo max >$held/cpu.max"
drift "idle by its group" "share of CPU time of $held" "echo 1 >$held/cpu.idle" "echo 0 >$held/cpu.idle"
drift "a group's small share" "share of CPU time of $held" "echo 10 >$held/cpu.weight" "echo 100 >$held/cpu.weight"
drift "a group above that is frozen" "state of $held" "echo 1 >$held/cgroup.freeze" "echo 0 >$held/cgroup.freeze"
! uclampset -p "${vcpu[0]}" 2>/dev/null | grep -q 1024 || drift "vCPU 0's thread clamped" "vcpu 0: scheduling" "uclampset -M 256 -p ${vcpu[0]}" "uclampset -M 1024 -p ${vcpu[0]}"
sleep 1000 & sleeper=$!
at_end+=("kill $sleeper 2>/dev/null")
drift "another's task bound to the VM's CPU" "others' tasks on CPUs 4-5" "echo $sleeper >$partition/cgroup.procs; taskset -pc 4 $sleeper" "echo $sleeper >/sys/fs/cgroup/cgroup.procs; taskset -pc 0 $sleeper"
drift "another's real-time task" "others' tasks on CPUs 4-5" "echo $sleeper >$partition/cgroup.procs; taskset -pc 0-7 $sleeper; chrt -f -p 1 $sleeper" "chrt -o -p 0 $sleeper; echo $sleeper >/sys/fs/cgroup/cgroup.procs"
equal "all is as planned again" "" "$(lost)"
# Linux before 6.2 forgets the masks of all tasks outside when a partition ends: what verify then tells of them is so.
case $LAB_KERNEL in
    6.1*) ;;
    *) drift "the partition is a member" "$partition/cpuset.cpus.partition" "echo member >$partition/cpuset.cpus.partition" "echo isolated >$partition/cpuset.cpus.partition" ;;
esac

# --- windows ---------------------------------------------------------------------------------------------------------------------
# The CPUs here are emulated, and their host takes them away without telling: what looks like a delay then is told as not checked.
# window: one of two seconds in out.json; its offenders as "what who" without numbers
window() { vmrun watch a --json --for 2 >out.json 2>watch.err; }
offenders() { jq -r '.offenders[] | "\(.what) \(.who)"' out.json | sed -E 's/ \([0-9]+\)//g' | sort -u | paste -sd'|'; }
loud=0 unsure=0
for i in {1..30}; do
    window
    found=$(offenders)
    [ -z "$found" ] || { loud=$((loud + 1)); not_ok "quiet window $i: $found"; cp out.json "/out/loud$i.json"; }
    [ "$(jq '.window.not_checked | length' out.json)" = 0 ] || unsure=$((unsure + 1))
done
fact "quiet windows with something that could not be told" $unsure
equal "of 30 quiet windows, with an offender" 0 $loud
check "every switch is traced" jq -e .window.traced out.json
jq -r '.window.not_checked[]' out.json | sed 's/^/        not checked: /'

# Exits, beside KVM's own files (debugfs: of all vCPUs in one, and what is the VM's beside). The guest is paused at both ends, so both
# are to be the same to the last one.
kvm_counts() { # "NAME COUNT"
    grep -sE '^[0-9]+$' /sys/kernel/debug/kvm/"$main"-*/* | sed 's/.*\///; s/:/ /' | grep -vE '^(mmu_|max_mmu_|pages_|remote_tlb|nx_lpage)' | sort
}
busy() {
    kvm_counts >before.txt
    vmrun resume a
    echo "dd if=/dev/vda of=/dev/null bs=4k count=200 iflag=direct; cat /proc/interrupts" >&"$console"
    sleep 2
    vmrun pause a
    kvm_counts >after.txt
}
export -f kvm_counts busy
export console
check "vmrun pause" vmrun pause a
vmrun watch a --json -- bash -c busy >out.json 2>watch.err
check "vmrun resume" vmrun resume a
join before.txt after.txt | awk '$3 > $2 { printf "%s %.0f\n", $1, $3 - $2 }' >kvm.txt
jq -r '[.window.vcpus[].exits[]] | group_by(.name)[] | "\(.[0].name) \(map(.count) | add)"' out.json | sort >watch.txt
join -a 1 -a 2 -e 0 -o 0,1.2,2.2 kvm.txt watch.txt | awk '$2 != $3' >differ.txt
equal "counters that KVM and watch tell otherwise" "" "$(paste -sd';' differ.txt)"
exits=$(sed -n 's/^exits //p' watch.txt)
check "exits are counted: $exits" test "${exits:-0}" -gt 100
check "those of each vCPU" jq -e '[.window.vcpus[].exits[] | select(.name == "exits").count] | length == 2 and min > 10' out.json
fact "exits by watch, and by KVM; kinds that are alike" "$exits, $(sed -n 's/^exits //p' kvm.txt); $(join kvm.txt watch.txt | awk '$2 == $3' | wc -l) of $(wc -l <kvm.txt)"

# disturbed WHAT PATTERN COMMAND [AFTER]: while COMMAND runs beside it, an offender is like PATTERN
named=0 windows=0
disturbed() {
    local pid found
    if fault quiet; then sleep 30 & else bash -c "$3" >disturb.txt 2>&1 & fi
    pid=$!
    sleep 0.3
    window
    kill $pid 2>/dev/null
    pkill -P $pid 2>/dev/null
    wait $pid 2>/dev/null
    eval "${4:-}"
    found=$(offenders)
    windows=$((windows + 1))
    check "$1: $2 (${found:0:160})" grep -qE "$2" <(tr '|' '\n' <<<"$found") && named=$((named + 1))
    fact "window: $1" "${found:-nothing}"
}
# at_once WHAT PATTERN COMMAND: the same for what is over in a moment, or takes its time: the window is COMMAND's life and a bit of a second
at_once() {
    local found
    if fault quiet; then vmrun watch a --json -- sleep 1; else vmrun watch a --json -- bash -c "$3; sleep 0.3"; fi >out.json 2>watch.err
    found=$(offenders)
    windows=$((windows + 1))
    check "$1: $2 (${found:0:160})" grep -qE "$2" <(tr '|' '\n' <<<"$found") && named=$((named + 1))
    fact "window: $1" "${found:-nothing}"
}
there="echo \$\$ >$partition/cgroup.procs; taskset -pc 4 \$\$ >/dev/null"
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
of=b
equal "a VM of small pages as planned: what is not held" "" "$(lost)"
mkdir /sys/fs/cgroup/low
at_end+=("rmdir /sys/fs/cgroup/low 2>/dev/null")
was=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/${qemu[b]}/cgroup")
# move PID GROUP: with the masks of its threads, which Linux before 6.2 forgets at that
move() {
    local task
    declare -A cpus=()
    for task in "/proc/$1/task"/*; do cpus[${task##*/}]=$(cpus_of "${task##*/}"); done
    echo "$1" >"$2/cgroup.procs"
    for task in "${!cpus[@]}"; do taskset -pc "${cpus[$task]}" "$task" >/dev/null; done
}
drift "a limit of memory above" "memory of /sys/fs/cgroup/low" "move ${qemu[b]} /sys/fs/cgroup/low; echo 48M >/sys/fs/cgroup/low/memory.high" \
    "move ${qemu[b]} $was"
drift "another user than planned" "QEMU's Gid (real, effective, saved, of files)|QEMU's Uid (real, effective, saved, of files)" \
    "cp /run/vmrun/b/plan.json plan.json; jq '.uid = 4242' plan.json >/run/vmrun/b/plan.json" "cat plan.json >/run/vmrun/b/plan.json"
of=a
fact "drifts planted" $drifts
modprobe veth || die "no veth"
ip link add storm0 type veth peer name storm1
ip link set storm0 up && ip link set storm1 up
echo 10 >/sys/class/net/storm1/queues/rx-0/rps_cpus
at_end+=("rmmod pktgen 2>/dev/null; ip link delete storm0 2>/dev/null")
# Packets that CPU 0 sends and CPU 4 receives: an interrupt and a softirq on it for each. pktgen has a thread on each CPU.
storm() {
    local line
    modprobe pktgen || return
    echo "add_device storm0" >/proc/net/pktgen/kpktgend_0
    for line in "count 0" "delay 50000" "pkt_size 60" "dst 10.99.0.2" "dst_mac $(cat /sys/class/net/storm1/address)"; do
        echo "$line" >/proc/net/pktgen/storm0
    done
    echo start >/proc/net/pktgen/pgctrl
}
export -f storm
hog='push @all, "x" x (1 << 20) for 1 .. 400; sleep 2'
set_pages 0 64 >/dev/null
for _ in 1 2 3; do
    disturbed "a busy loop" '^foreign-task bash' "$there; while :; do :; done"
    disturbed "a real-time task for moments" '^foreign-task (bash|sleep)' "$there; chrt -f -p 1 \$\$; while :; do for i in {1..300}; do :; done; sleep 0.01; done"
    disturbed "a stopped QEMU" '^stopped' "kill -STOP $main; sleep 1.5; kill -CONT $main; sleep 5" "kill -CONT $main"
    disturbed "a pause" '^stopped' "sleep 0.5; vmrun pause a; sleep 0.5; vmrun resume a; sleep 5"
    disturbed "a limit" '^limit ' "echo '2000 100000' >$held/cpu.max; sleep 5" "echo max >$held/cpu.max"
    disturbed "KSM" '^ksm ' "echo 5000 >/sys/kernel/mm/ksm/pages_to_scan; echo 1 >/sys/kernel/mm/ksm/run; sleep 5" "echo 0 >/sys/kernel/mm/ksm/run"
    disturbed "a vCPU that is moved and moved back" '^moved' "sleep 0.3; taskset -pc 5 ${vcpu[0]}; sleep 1.2; taskset -pc 4 ${vcpu[0]}; sleep 5" "taskset -pc 4 ${vcpu[0]} >/dev/null"
    at_once "a vCPU that is moved and moved back at once" '^moved' "taskset -pc 5 ${vcpu[0]}; sleep 0.15; taskset -pc 4 ${vcpu[0]}"
    at_once "the emulator's thread, moved and moved back" '^moved' "taskset -pc 3 $main; sleep 0.15; taskset -pc 2 $main"
    at_once "a policy for a moment" '^policy ' "chrt -i -p 0 ${vcpu[1]}; sleep 0.15; chrt -o -p 0 ${vcpu[1]}"
    at_once "a stop for a moment" '^stopped' "kill -STOP $main; kill -CONT $main"
    at_once "memory that goes away and comes back" '^memory-moved' "migratepages $main 1 0; return_memory"
    disturbed "a storm of packets" '^(interrupts (softirq NET_RX|IRQ )|kernel-worker \[ksoftirqd/4\].* NET_RX)' storm "echo stop >/proc/net/pktgen/pgctrl; rmmod pktgen"
    at_once "a memory hog on the node" '^memory-taken perl: [0-9]+ MiB' "numactl -m 1 -C 6-7 perl -e '$hog'"
done
set_pages 0 0 >/dev/null
rom_spec c <<'TOML'
name = "c"
[cpu]
pin = "off"
[memory]
size = "64M"
page = "4K"
prealloc = true
TOML
up c
away="migratepages ${qemu[c]} 0-1 1; migratepages ${qemu[c]} 0-1 0"
! fault quiet || away=true
vmrun watch c --json -- bash -c "$away; sleep 0.3" >out.json 2>watch.err
check "small pages that go away and come back are counted: $(jq .window.memory.moved out.json) bytes" \
    jq -e '.window.memory.moved >= 67108864' out.json
kill_vm c
fact "disturbed windows, and those with the offender named" "$windows, $named"
ip link delete storm0
kill_vm b
window
equal "quiet again" "" "$(offenders)"
TIMEFORMAT='%U %S'
used=$({ time vmrun watch a --for 20 >/dev/null 2>&1; } 2>&1)
fact "CPU seconds of 20 s of watching (user, system), with all that a start costs" "$used"
kill_vm a
end
