#!/bin/bash
# `vmrun watch`: what disturbs a VM in a window is named, and what a command did meanwhile is told; by looks, and with every switch traced.
# This machine is no quiet one, so what must be clean is so by thresholds here; quiet windows are the lab's.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need python3
[ "$(nproc)" -gt 1 ] || skip "needs a second CPU for the vCPU"
traced=0
if [ ! -e /sys/kernel/tracing/events ] && mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; then
    at_end+=("umount /sys/kernel/tracing")
fi
[ ! -e /sys/kernel/tracing/events/sched/sched_switch/id ] || traced=1

never=()
for name in run-delay foreign-task interrupts interrupt-time sibling steal heat remote-memory major-faults ksm memory-pressure memory-taken stopped moved limit; do
    never+=(--threshold "$name=1e9")
done
# offenders COMMAND...: what a window of a second found, "what|who" a line each
fits() { python3 "$root/tests/fits_schema.py" "$root/configs/watch.schema.json"; }
watch() { run_code "$vmrun" watch a --json "$@"; }
offenders() { jq -r '.offenders[] | "\(.what)|\(.who)"' <<<"$out"; }

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    {
        printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "auto"\nemulator = "0"\n[memory]\nsize = "256M"\npage = "4K"\n'
        boot "vmrun.report vmrun.then=idle"
    } | spec a
    run_in_background pid a
    says a '^guest: ready' "$pid" 90 || failed "$version: the guest gets ready" "$(cat "$work"/a.{out,err})"
    vcpu=$("$vmrun" show --json a | jq -r '.threads[] | select(.role == "vcpu 0") | .tid')
    cpu=$("$vmrun" show --json a | jq -r '.threads[] | select(.role == "vcpu 0") | .wanted')

    watch --for 1s "${never[@]}"
    is "$version: nothing counts: exit code" "$code" 0
    check "$version: as the schema says" fits <<<"$out"
    is "$version: clean" "$(jq -r '.version, .verdict, (.offenders | length)' <<<"$out" | xargs)" "1 clean 0"
    is "$version: every switch is traced" "$(jq -r .window.traced <<<"$out")" "$([ $traced = 1 ] && echo true || echo false)"
    check "$version: the vCPU's time is there" jq -e '.window.threads[] | select(.role == "vcpu 0") | .slices > 0' <<<"$out"

    watch "${never[@]}" -- sh -c "sleep 0.4; exit 7"
    check "$version: as the schema says, with a command" fits <<<"$out"
    is "$version: a command's exit code, and ours" "$(jq -r .command.exit_code <<<"$out") $code" "7 0"
    check "$version: the window was the command's life" jq -e '.window.ns > 3e8 and .window.ns < 20e9' <<<"$out"

    watch "${never[@]}" --threshold foreign-task=5 -- taskset -c "$cpu" timeout 1.5 bash -c 'while :; do :; done'
    is "$version: a busy loop on the vCPU's CPU: exit code" "$code" 4
    check "$version: as the schema says, disturbed" fits <<<"$out"
    has "$version: it is named" "$(offenders)" '^foreign-task.(bash|timeout|taskset) \([0-9]+\)'

    if [ $traced = 1 ]; then # each of them too short for a look
        watch "${never[@]}" --threshold foreign-task=0.01 -- bash -c "for i in {1..20}; do taskset -c $cpu sh -c 'i=0; while [ \$i -lt 3000 ]; do i=\$((i + 1)); done'; done"
        check "$version: short ones, too (exit code $code)" test "$(offenders | grep -c '^foreign-task.sh ')" -ge 15
    fi

    watch "${never[@]}" --threshold moved=0 -- sh -c "sleep 0.3; taskset -pc 0 $vcpu; sleep 1.5; taskset -pc $cpu $vcpu"
    is "$version: a vCPU moved, and back: exit code" "$code" 4
    has "$version: told" "$(jq -r '.offenders[].subject' <<<"$out")" "^vcpu 0 \($vcpu\)( was on 0, not on $cpu)?$"

    watch "${never[@]}" --threshold stopped=0 -- sh -c "$vmrun pause a; sleep 0.3; $vmrun resume a"
    is "$version: paused for a moment" "$code $(jq -r '.offenders[].subject' <<<"$out")" "4 the VM was paused"
    watch "${never[@]}" --threshold stopped=0 -- sh -c "kill -STOP $(qemu_of a); sleep 1.5; kill -CONT $(qemu_of a)"
    is "$version: stopped by a signal" "$code" 4
    has "$version: its threads are named" "$(jq -r '.offenders[].subject' <<<"$out")" "^vcpu 0 \($vcpu\) was stopped"

    watch "${never[@]}" --threshold stopped=0 -- sh -c "sleep 0.2; kill -STOP $(qemu_of a); sleep 0.4; kill -CONT $(qemu_of a)"
    is "$version: and between two looks" "$code $(jq -r '.offenders[].subject' <<<"$out")" "4 QEMU ($(qemu_of a)) was stopped"
    for one in "v2 cgroup.freeze 1 0 0.05" "freezer freezer.state FROZEN THAWED 0.3"; do # the kernel gives notice in version 2 only
        read -r hierarchy file freeze thaw seconds <<<"$one"
        group=$(group_for "$hierarchy" "$file") || continue
        qemu_of a >"$group/cgroup.procs"
        watch "${never[@]}" --threshold stopped=0 -- sh -c "sleep 0.1; echo $freeze >$group/$file; sleep $seconds; echo $thaw >$group/$file"
        is "$version: its control group frozen for $seconds s" "$code $(jq -r '.offenders[].subject' <<<"$out")" "4 the VM was frozen: $group"
        qemu_of a >"$(dirname "$group")/cgroup.procs"
        rmdir "$group"
    done
    if group=$(group_for cpu cpu.cfs_quota_us); then
        echo 1000 >"$group/cpu.cfs_quota_us" # of 100 ms
        qemu_of a >"$group/cgroup.procs"
        watch "${never[@]}" --threshold limit=0 -- "$vmrun" qmp a 'query-status' 'query-block' 'query-machines' 'query-cpu-definitions'
        is "$version: a limit of version 1 held it back" "$code $(offenders)" "4 limit|its cpu.max"
        qemu_of a >"$(dirname "$group")/cgroup.procs"
        rmdir "$group"
    fi

    run_code "$vmrun" watch a --for 0.5 "${never[@]}" --until-clean 3
    is "$version: one window is enough where it is clean" "$code $(grep -c '^clean' <<<"$out")" "0 1"
    run_code "$vmrun" watch a --for 0.5 --threshold stops=1
    is "$version: no such threshold" "$code" 2
    has "$version: those that there are" "$err" "run-delay, foreign-task"
    run_code "$vmrun" watch a --for soon
    is "$version: no length" "$code" 2
    if [ -n "$(command -v gnuplot)" ]; then
        "$vmrun" watch a --for 2.2 --svg "$work/a.svg" >/dev/null || true
        has "$version: a picture" "$(cat "$work/a.svg")" '^<svg '
    fi
    "$vmrun" stop a 2>/dev/null
    exits "$version: exit code" "$pid" 60 0
    run_code "$vmrun" watch a --for 1
    is "$version: one that does not run" "$code" 1
done
finish
