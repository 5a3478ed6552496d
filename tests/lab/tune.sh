#!/bin/bash
# `vmrun host tune` and `revert` change nothing together (tests/snapshot.sh says what is compared); also after a SIGKILL of tune. With
# a VM named, interrupts leave its CPUs.
# files: echo tests/snapshot.sh
# lab: --nodes 2 --kernel 6.12 --timeout 600
# lab: --all --nodes 2 --kernel 6.1 --timeout 600
# fault: kept nothing is put back after a tune
# fault: other another value is changed while the machine is tuned
# fault: lost after a kill, what tune wrote down is lost
# fault: moved an interrupt is brought back to the VM's CPU
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin

# shellcheck source=tests/snapshot.sh
. ./snapshot.sh
identical() {
    if nothing_differs; then
        ok "$1: nothing differs"
    else
        not_ok "$1: what differs"
        shown | sed 's/^/    /'
    fi
}
back() { fault kept || vmrun host revert >/dev/null 2>&1; }
at_end+=("vmrun host revert >/dev/null 2>&1")

# something to say for each profile
echo never >/sys/kernel/mm/transparent_hugepage/enabled
echo 1 >/sys/kernel/mm/ksm/run
echo 1 >/proc/sys/vm/zone_reclaim_mode
echo 1 >/proc/sys/kernel/numa_balancing 2>/dev/null
echo 0 >/sys/module/kvm/parameters/halt_poll_ns
sleep 1
learn
whole >base
fact "files compared" "$(cut -f1 base | uniq | wc -l), $(wc -l <volatile) change by themselves"

for profile in latency density; do
    check "tune $profile" eval "vmrun host tune $profile --json >tuned.json"
    ! fault other || echo 7 >/proc/sys/vm/page-cluster
    fact "$profile" "$(jq -r '[.changes[].setting] | unique | join(", ")' tuned.json)"
    wrong=$(jq -r '.changes[] | [.path, .to] | @tsv' tuned.json | while IFS=$'\t' read -r path to; do
        found=$(sed 's/.*\[\(.*\)\].*/\1/; s/\t/ /g' "$path")
        [ "$found" = "$to" ] || echo "$path reads $found"
    done)
    equal "of $(jq '.changes | length' tuned.json) files read otherwise" "" "$wrong"
    check "KVM polls" test "$(cat /sys/module/kvm/parameters/halt_poll_ns)" -gt 0
    back
    identical "after tune $profile and revert"
done

# for one VM
rom_spec a <<'TOML'
name = "a"
[cpu]
count = 2
[memory]
size = "32M"
page = "4K"
TOML
up a
cpus=
for tid in $(vcpus a); do cpus+=${cpus:+,}$(cpus_of "$tid"); done
sleep 1
learn
mv base base.0
whole >base
check "tune latency --for a, on CPUs $cpus" eval "vmrun host tune latency --for a --json >tuned.json"
stay=$(jq -r '.passed_over[]' tuned.json | sed 's/ stays.*//')
fact "interrupts" "$(jq '[.changes[] | select(.setting == "stray-irqs")] | length' tuned.json) may no more go to $cpus, $(wc -w <<<"$stay") the kernel keeps"
wrong=
for file in $(jq -r '.changes[] | select(.setting == "stray-irqs") | .path' tuned.json); do
    grep -qxF "$file" <<<"$stay" && continue
    ! fault moved || cat /sys/devices/system/cpu/online >"$file"
    for cpu in $(cpu_list "$cpus"); do ! inside "$cpu" "$(cat "$file")" || wrong+="$file: $(cat "$file"); "; done
done
equal "interrupts that may go there" "" "$wrong"
check "some were moved" jq -e '[.changes[] | select(.setting == "stray-irqs")] | length > 0' tuned.json
back
# where an interrupt is, within its mask, is the kernel's to say; a silent one is brought back only when it fires
differing | grep effective_affinity | forget
fact "interrupts on another CPU than before" "$(grep -c effective_affinity_list volatile)"
identical "after revert, masks of interrupts too"
kill_vm a
mv base.0 base

# killed at any instant
start=$(now)
vmrun host tune latency >/dev/null 2>&1
took=$(since "$start")
vmrun host revert >/dev/null 2>&1
begun=0
for round in $(seq 20); do
    vmrun host tune latency >/dev/null 2>&1 &
    pid=$!
    sleep "$(awk -v took="$took" -v part="$round" 'BEGIN { printf "%.3f", took * part / 20 }')"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ ! -s /run/vmrun/.host/journal ] || begun=$((begun + 1))
    ! fault lost || rm -rf /run/vmrun/.host
    vmrun host revert >/dev/null 2>&1
done
fact "kills" "20 within $took s, $begun after the first undo was written down"
check "some of them hit it at work" test "$begun" -gt 0
identical "after 20 kills and reverts"
end
