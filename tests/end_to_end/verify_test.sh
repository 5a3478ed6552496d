#!/bin/bash
# `vmrun verify`: a VM as it was planned is proved so, and each drift that is planted is found, named, and nothing else with it.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
bridge=vmrune2e8
make_bridge "$bridge" || skip "no bridge can be made here (ip link add type bridge)"
truncate -s 64M "$work/disk.raw"

idle_boot() { boot "vmrun.report vmrun.then=idle"; }
# lost: what is not held, a line each
lost() { "$vmrun" verify a --json | jq -r '.rows[] | select(.outcome == "lost") | .what'; }
# drift WHAT PATTERN: exactly one promise is not held, the one like PATTERN; the exit code says so, and the words name it
drift() {
    is "$1: what is not held" "$(lost | sed -E 's/[0-9]+\)/PID)/')" "$2"
    run_code "$vmrun" verify a
    is "$1: exit code" "$code" 1
    has "$1: told last but one" "$out" "^not held: "
}
whole() {
    run_code "$vmrun" verify a --json
    is "$1: nothing is lost" "$(jq -r '.lost' <<<"$out") $(lost)" "0 "
}

# by_ring: the outcome, of verify's JSON, for the requests of the disk
by_ring() { jq -r --arg what "$work/disk.raw: requests by io_uring" '.rows[] | select(.what == $what).outcome'; }

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    {
        printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "auto"\nemulator = "0"\n[memory]\nsize = "256M"\npage = "4K"\n'
        printf '[[disk]]\npath = "%s"\nformat = "raw"\n[[net]]\nbridge = "%s"\nvhost = false\n' "$work/disk.raw" "$bridge"
        boot "vmrun.report vmrun.then=idle"
    } | spec a
    run_in_background pid a
    says a '^guest: ready' "$pid" 90 || failed "$version: the guest gets ready" "$(cat "$work"/a.{out,err})"
    run_code "$vmrun" verify a
    check "$version: as it was planned (exit code $code)" test "$code" = 0 -o "$code" = 5
    [ "$(lost)" = "" ] || failed "$version: nothing is lost" "$out"
    whole "$version: as planned"
    is "$version: the disk that the guest has read at its boot was read by io_uring" "$(by_ring <<<"$out")" held
    check "$version: more than 20 promises are held" test "$("$vmrun" verify a --json | jq .held)" -gt 20
    # QEMU 11.1 ends itself when it is asked for them
    [ "${version%%.*}" -ge 11 ] || has "$version: the driver's rings" "$out" '"what": *"disk0: packed rings"'
    check "$version: the VM runs on" "$vmrun" show a

    main=$("$vmrun" show --json a | jq -r '.qemu')
    vcpu=$("$vmrun" show --json a | jq -r '.threads[] | select(.role == "vcpu 0") | .tid')
    before=$(taskset -pc "$vcpu" | sed 's/.*: //')
    if [ "$(nproc)" -gt 1 ]; then
        taskset -pc 0-1 "$vcpu" >/dev/null
        drift "$version: a vCPU moved" "vcpu 0 (PID): CPUs"
        taskset -pc "$before" "$vcpu" >/dev/null
    fi
    chrt -f -p 1 "$vcpu"
    drift "$version: a vCPU's policy" "vcpu 0 (PID): scheduling"
    chrt -o -p 0 "$vcpu"
    tap=$(ip -o link show master "$bridge" | cut -d: -f2 | tr -d ' ' | head -n 1)
    whole "$version: put back"
    chrt -f -p 1 "$main"
    drift "$version: QEMU's main thread" "emulator (PID): scheduling"
    chrt -o -p 0 "$main"
    check "$version: the tap is there" test -n "$tap"
    renice -n 5 -p "$vcpu" >/dev/null
    drift "$version: a vCPU made nice" "vcpu 0 (PID): nice"
    renice -n 0 -p "$vcpu" >/dev/null
    for one in cpu:cpu.cfs_quota_us:50000:"CPU time of" v2:cgroup.freeze:1:"state of" memory:memory.limit_in_bytes:100M:"memory of"; do
        IFS=: read -r hierarchy file value what <<<"$one"
        group=$(group_for "$hierarchy" "$file") || { echo "note  no $file here"; continue; }
        echo "$main" >"$group/cgroup.procs"
        whole "$version: in a group without a limit"
        echo "$value" >"$group/$file"
        drift "$version: $file" "$what $group"
        [ "$hierarchy" != v2 ] || echo 0 >"$group/$file"
        echo "$main" >"$(dirname "$group")/cgroup.procs"
        rmdir "$group"
    done
    "$vmrun" stop a 2>/dev/null
    exits "$version: exit code" "$pid" 60 0
    run_code "$vmrun" verify a
    is "$version: one that does not run" "$code" 1

    # a ring without a request for the image proves nothing (QEMU 11 has some for its own loops, whatever its disks use), and is a
    # loss only where one was needed
    for boot in rom_boot idle_boot; do
        { printf 'accel = "tcg"\n[cpu]\ncount = 1\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n'
            printf '[[disk]]\npath = "%s"\nformat = "raw"\naio = "threads"\n' "$work/disk.raw"
            $boot; } | spec a
        run_in_background pid a
        runs() { [ "$("$vmrun" show a --json 2>/dev/null | jq -r .phase)" = running ]; }
        check "$version: it runs" within 30 runs
        [ "$boot" = rom_boot ] || says a '^guest: ready' "$pid" 90 || failed "$version: the guest gets ready" "$(cat "$work"/a.{out,err})"
        plan=$VMRUN_RUN_DIR/a/plan.json
        sed 's/aio=threads/aio=io_uring/' "$plan" >"$work/plan" && cp "$work/plan" "$plan"
        if [ "$boot" = rom_boot ]; then
            whole "$version: a guest that asks nothing of its disk"
            is "$version: whether it asks by a ring" "$(by_ring <<<"$out")" not_checked
        elif [ "${version%%.*}" -lt 11 ] || [ "$(by_ring < <("$vmrun" verify a --json))" != not_checked ]; then
            drift "$version: no ring for a disk that is read" "$work/disk.raw: requests by io_uring"
        else
            passed "$version: a loop's ring, which has come round, is no proof"
        fi
        "$vmrun" kill a 2>/dev/null
        wait "$pid"
    done
done
finish
