#!/bin/bash
# The CPU, clock, Hyper-V and scheduling knobs, each asked for in a spec and seen in the guest, over QMP or in the host's kernel.
# Each is a line `KNOB<TAB>name<TAB>asked<TAB>seen<TAB>where`; the status is 1 when one was not seen as it was asked for.
# lab: --timeout 900 --kernel 6.12 --qemu 11.1
# lab: --all --timeout 900 --kernel all --qemu all
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
truncate -s 16M /root/disk
at_end+=("rm -f /root/disk")

# not_had NAME ASKED PATTERN OPTION...: `vmrun plan OPTION... p.toml` refuses it with these words
not_had() {
    local name=$1 asked=$2 pattern=$3 before=$failed
    shift 3
    refused "knob $name = $asked is refused" 2 "$pattern" vmrun plan "$@" p.toml
    [ "$failed" != "$before" ] || printf 'KNOB\t%s\t%s\t*refused*\tvmrun plan\n' "$name" "$asked"
}
line_of() { tr -d '\r' <"$1.log" | sed -n "s/^guest: //p" | grep -E -- "$2" | head -n 1; }
# flag VM NAME: on or off, by /proc/cpuinfo
flag() { case $(line_of "$1" '^flags=') in *" $2 "*) echo on ;; *) echo off ;; esac; }
# clock VM NAME: yes or no, among the clock sources there are
clock() { case $(line_of "$1" '^clocksources=') in *" $2 "*) echo yes ;; *) echo no ;; esac; }
# property VM NAME: a property of vCPU 0, over QMP
property() {
    [ "${of:-}" = "${qemu[$1]}" ] || { of=${qemu[$1]} path=$(qmp "/run/vmrun/$1/qmp.sock" query-cpus-fast | jq -r '.return[] | select(."cpu-index" == 0) | ."qom-path"'); }
    qmp "/run/vmrun/$1/qmp.sock" "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"$path\",\"property\":\"$2\"}}" | jq -rc .return
}
machine_property() { qmp "/run/vmrun/$1/qmp.sock" "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\",\"property\":\"$2\"}}" | jq -rc .return; }
# exits VM NAME: a counter of vCPU 0, over QMP
exits() {
    qmp "/run/vmrun/$1/qmp.sock" '{"execute":"query-stats","arguments":{"target":"vcpu"}}' |
        jq -r --arg name "$2" '[.return[0].stats[] | select(.name == $name) | .value][0]'
}
# cookie TID: of core scheduling, by prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET)
cookie() { perl -e '$b = "\0" x 8; syscall(157, 62, 0, $ARGV[0] + 0, 0, $b) == 0 or die "$!\n"; printf "%x\n", unpack "Q", $b' "$1"; }

# --- features, hints, TSC, priorities, core scheduling, cgroup --------------------------------------------------------------
# core scheduling: where the kernel has it (prctl says so) and there are siblings
smt=$(perl -e '$b = "\0" x 8; exit(syscall(157, 62, 0, 0, 0, $b) == 0 ? 0 : 1)' && echo true || echo false)
caches=
case $LAB_QEMU in 7.2) ;; *) caches=$'l2 = "die"\nl3 = "socket"' ;; esac
spec a vmrun.cpu vmrun.then=idle <<TOML
name = "a"
[cpu]
count = 2
siblings = "isolate"
emulator = "0-1"
add = ["kvm-pv-ipi"]
remove = ["aes", "avx2"]
require = ["x2apic", "sse4_2"]
nested = true
poll_control = false
$caches
[memory]
size = "128M"
page = "2M"
[schedule]
vcpu_fifo = 20
iothread_fifo = 10
core = $smt
weight = 250
quota = 150
[[disk]]
path = "/root/disk"
format = "raw"
TOML
up a
check "guest a tells its CPU" test -n "$(line_of a '^flags=')" || die "no flags, so nothing that follows means anything"
pid=${qemu[a]}
knob cpu.add true "$(property a kvm-pv-ipi)" "QMP kvm-pv-ipi"
knob cpu.remove off "$(flag a aes)" "guest cpuinfo aes"
knob cpu.require on "$(flag a x2apic)" "guest cpuinfo x2apic"
knob cpu.nested on "$(flag a svm)" "guest cpuinfo svm"
knob cpu.poll_control false "$(property a kvm-poll-control)" "QMP kvm-poll-control"
knob cpu.dedicated true "$(property a kvm-hint-dedicated)" "QMP kvm-hint-dedicated"
knob clock.invtsc on "$(flag a nonstop_tsc)" "guest cpuinfo nonstop_tsc"
knob "clock source" clocksource=tsc "$(line_of a '^clocksource=')" guest
knob clock.hpet no "$(clock a hpet)" "guest clock sources"
knob clock.pit "" "$(kernel_threads "$pid" | grep -o 'kvm-pit')" "host kernel threads"
mapfile -t tids < <(vcpus a)
idle=
for tid in "${tids[@]}"; do idle+="$(without "$(siblings "$(cpus_of "$tid")")" "$(cpus_of "$tid")") "; done
knob cpu.siblings "2 cores, idle $(vmrun list --json | jq -r '.[0].cpus' | { read -r own; for tid in "${tids[@]}"; do own=$(without "$own" "$(cpus_of "$tid")"); done; cpu_list "$own"; })" \
    "$(for tid in "${tids[@]}"; do siblings "$(cpus_of "$tid")"; done | sort -u | wc -l) cores, idle $(cpu_list "$idle")" "host affinity and ledger"
[ -z "$caches" ] || knob cpu.l3 0-1 "$(line_of a '^cache l3' | sed 's/.*shared=//')" "guest sysfs"
for tid in "${tids[@]}"; do knob schedule.vcpu_fifo "SCHED_FIFO|SCHED_RESET_ON_FORK 20" "$(chrt -p "$tid" | sed 's/.*: //' | paste -sd' ')" "host thread $tid"; done
knob schedule.iothread_fifo "SCHED_FIFO|SCHED_RESET_ON_FORK 10" "$(chrt -p "$(iothreads a)" | sed 's/.*: //' | paste -sd' ')" "host iothread"
knob "others keep SCHED_OTHER" "SCHED_OTHER 0" "$(chrt -p "$pid" | sed 's/.*: //' | paste -sd' ')" "host main thread"
group=/sys/fs/cgroup/vmrun/vm-a
knob schedule.weight 250 "$(cat $group/cpu.weight)" "host cgroup"
knob schedule.quota "150000 100000" "$(cat $group/cpu.max)" "host cgroup"
strays=
for tid in $(threads "$pid" | cut -d' ' -f1); do [ "$(cat "/proc/$tid/cgroup")" = "0::${group#/sys/fs/cgroup}" ] || strays+="$tid "; done
knob "all threads in the cgroup" "" "$strays" "host /proc/TID/cgroup"
if [ "$smt" = true ]; then
    mine=$(cookie "$pid")
    fact "core scheduling" "in this kernel"
    knob schedule.core "one, not 0" "$(for tid in $(threads "$pid" | cut -d' ' -f1); do cookie "$tid"; done | sort -u | wc -l | sed 's/^1$/one/'), $([ "$mine" = 0 ] && echo 0 || echo not 0)" "host prctl"
fi
knob "vmrun show" 0 "$(vmrun show a >show.txt; echo $?)" "all as wanted"
check "show tells the priorities" grep -q 'FIFO 20' show.txt
check "show tells the controls" grep -q 'cpu.max: 150000 100000' show.txt
down a
knob "cgroup is gone" "" "$(ls -d $group /sys/fs/cgroup/vmrun 2>/dev/null)" host

# --- the clocks the other way round, no KVM services ------------------------------------------------------------------------
spec b vmrun.cpu vmrun.then=idle <<'TOML'
name = "b"
[cpu]
count = 1
dedicated = false
host_caches = true
nested = false
[clock]
hpet = true
pit = true
kvmclock = false
invtsc = false
[memory]
size = "128M"
page = "2M"
TOML
up b
check "guest b tells its CPU" test -n "$(line_of b '^clocksources=')" || die "no clock sources, so nothing that follows means anything"
knob clock.hpet yes "$(clock b hpet)" "guest clock sources"
knob clock.pit kvm-pit "$(kernel_threads "${qemu[b]}" | grep -o 'kvm-pit')" "host kernel threads"
knob clock.kvmclock no "$(clock b kvm-clock)" "guest clock sources"
knob clock.invtsc off "$(flag b nonstop_tsc)" "guest cpuinfo nonstop_tsc"
knob cpu.nested off "$(flag b svm)" "guest cpuinfo svm"
knob cpu.dedicated false "$(property b kvm-hint-dedicated)" "QMP kvm-hint-dedicated"
knob cpu.host_caches "$(cat /sys/devices/system/cpu/cpu0/cache/index3/size)" "$(line_of b '^cache l3' | sed 's/.*size=//; s/ .*//')" "guest l3 size"
down b

# --- Windows' interfaces, seen by a Linux from which KVM's are hidden ---------------------------------------------------------
spec w vmrun.cpu vmrun.then=idle <<'TOML'
name = "w"
windows = true
[cpu]
count = 1
remove = ["kvm"]
[memory]
size = "128M"
page = "2M"
TOML
export TZ=XXX-5 # five hours east, for QEMU as well
up w
knob windows "Hypervisor detected: Microsoft Hyper-V" "$(line_of w '^dmesg Hypervisor' | sed 's/^dmesg //')" "guest dmesg"
property w hv-relaxed >/dev/null # finds vCPU 0 once for all that follow
for name in relaxed vapic vpindex runtime time synic stimer reset frequencies tlbflush ipi; do
    knob "hyperv.$name" true "$(property w "hv-$name")" QMP
done
knob hyperv.spinlocks 8191 "$(property w hv-spinlocks)" QMP
fact "Hyper-V in the guest" "$(line_of w '^dmesg Hyper-V: privilege')"
knob hyperv.time yes "$(clock w hyperv_clocksource_tsc_page)" "guest clock sources"
knob "clock.base (localtime)" 5 "$(line_of w '^rtc=' | sed 's/rtc=//' | { IFS=: read -r hour _; echo $(((10#$hour - 10#$(date -u +%H) + 24) % 24)); })" "guest RTC, hours from UTC"
unset TZ
down w

# --- an idle vCPU that does not leave the guest (the lab's own KVM stands only one such vCPU), and counters --------------------
rom_spec p <<'TOML'
name = "p"
[cpu]
count = 1
model = "qemu64"
pm = true
pmu = false
[memory]
size = "32M"
page = "2M"
TOML
up p
sleep 2
knob cpu.pm 0 "$(exits p halt_exits)" "QMP query-stats halt_exits"
knob cpu.pmu false "$(property p pmu)" QMP
knob cpu.model qemu64-x86_64-cpu "$(property p type)" QMP
kill_vm p
sed -i '/^pm = /d' p.toml
up p
sleep 2
knob "cpu.pm = false" "more than 0" "$([ "$(exits p halt_exits)" -gt 0 ] && echo more than 0)" "QMP query-stats halt_exits"
kill_vm p

# --- refused ------------------------------------------------------------------------------------------------------------------
[ "$smt" = true ] || not_had schedule.core "one, not 0" 'schedule.core: true, but this kernel has no core scheduling' --set schedule.core=true
[ -n "$caches" ] || not_had cpu.l3 0-1 'cpu.l3: QEMU [0-9.]* cannot be told who shares a cache' --set 'cpu.l3="socket"'
not_had "cpu.require (avx512f)" on 'cpu.require\[0\]: "avx512f" cannot be had: neither this host' --set 'cpu.require=["avx512f"]'
not_had "cpu.require (avx22)" on 'did you mean "avx2"' --set 'cpu.require=["avx22"]'
not_had clock.tsc_frequency 2000000000 'clock.tsc_frequency: this host.s KVM cannot scale the TSC' --set clock.tsc_frequency=2000000000
not_had schedule.l3 0=f 'schedule.l3: this host cannot divide its L3 caches' --set 'schedule.l3="0=f"'
not_had "cpu.count (pc-q35-7.2)" 300 'cpu.count: 300, but machine pc-q35-7.2 of QEMU [0-9.]* has at most 288' --set machine=pc-q35-7.2 --set cpu.count=300 --set 'cpu.pin="off"'
not_had "schedule.vcpu_fifo (shared CPUs)" 10 'schedule.vcpu_fifo: the vCPUs share' --set schedule.vcpu_fifo=10 --set 'cpu.pin="off"'
end
