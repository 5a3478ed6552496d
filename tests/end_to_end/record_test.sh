#!/bin/bash
# Locks, their replay and their comparison with real QEMUs: the same launch several times by the kernel's word, and each planted drift
# refused by name with nothing started. VMRUN_REPLAYS: how often it is replayed on each QEMU (3).
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
need python3
truncate -s 16M "$work/disk.raw"
lock=$work/a.toml.lock
replays=${VMRUN_REPLAYS:-3}

# Whatever QEMU runs as: its command line, each thread's mask by its name, where its memory may lie, and the placement on record.
seen() {
    local qemu
    qemu=$(qemu_of a) || return 1
    tr '\0' '\n' <"/proc/$qemu/cmdline"
    local task
    for task in /proc/"$qemu"/task/*; do
        case $(cat "$task/comm") in CPU* | IO* | qemu*) echo "$(cat "$task/comm") $(sed -n 's/^Cpus_allowed_list:\t//p' "$task/status")" ;; esac
    done | sort -u
    # each policy that is not the default, of what, without addresses and counts of pages
    awk '$2 != "default" { print $2, $3 ~ /^(file|heap|stack)/ ? $3 : "" }' "/proc/$qemu/numa_maps" 2>/dev/null | sort | uniq -c || true
    jq -S .placement "$VMRUN_RUN_DIR/a/plan.json"
}
# Files that QEMU maps as its libraries, and the lock does not have; its own modules are no programs beside it.
unknown_libraries() {
    local file
    awk '$6 ~ /\.so/ && $6 !~ /\/qemu\/[^\/]*$/ { print $6 }' "/proc/$(qemu_of a)/maps" | sort -u | while read -r file; do
        jq -e --arg name "$(basename "$file")" '.predicate.facts.libraries | any(startswith($name + " "))' "$lock" >/dev/null 2>&1 || echo "$file"
    done
}
drift_names() { jq -r '.drifts[] | select(.grade != "cosmetic") | .group + ": " + .name' <<<"$1"; }
# planted WHAT GROUP NAME JQ: with the lock changed so, the replay is refused for that reason alone
planted() {
    jq "$4" "$lock" >"$work/planted.lock"
    run_code "$vmrun" replay --json "$work/planted.lock"
    is "$1: refused" "$code" 2
    python3 "$root/tests/fits_schema.py" "$root/configs/diff.schema.json" <<<"$out" || failed "$1: as its schema says"
    is "$1: named" "$(drift_names "$out")" "$2: $3"
    check "$1: nothing was started" test ! -e "$VMRUN_RUN_DIR/a"
}

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    {
        printf 'accel = "tcg"\n[cpu]\ncount = 1\n[memory]\nsize = "128M"\npage = "4K"\n'
        printf '[[disk]]\npath = "disk.raw"\nformat = "raw"\nephemeral = true\n'
        boot "vmrun.then=idle"
    } | spec a
    sleep 2.1 # the disk's times are old enough to be believed
    run_code "$vmrun" lock "$work/a.toml" -o "$lock"
    is "$version: locked" "$code" 0
    has "$version: told how the image is known" "$err" 'disk\[0\]\.path: .*/disk\.raw is known by its content'
    check "$version: the same bytes twice" cmp "$lock" <("$vmrun" lock "$work/a.toml" 2>/dev/null)
    has "$version: its path is whole" "$(jq -r '.predicate.spec[]' "$lock")" "^path = \"$work/disk.raw\"$"
    hasnt "$version: no name of this host" "$(cat "$lock")" "$(cat /etc/machine-id 2>/dev/null || echo none)|[\": ]$(hostname)[\", ]"
    check "$version: as its schema says" python3 "$root/tests/fits_schema.py" "$root/configs/lock.schema.json" --whole <"$lock"
    run_code "$vmrun" diff "$lock" "$work/a.toml"
    is "$version: nothing differs" "$code $out" "0 "

    first=
    for ((round = 1; round <= replays; ++round)); do
        : >"$work/replay.out"
        "$vmrun" replay "$lock" --json --record "$work/runs" >"$work/replay.out" 2>"$work/replay.err" &
        replay=$!
        within 90 grep -q '"event":"running"' "$work/replay.out" || failed "$version: replay $round starts" "$(cat "$work/replay.err")"
        within 20 grep -q 'on record in' "$work/replay.err" || failed "$version: replay $round is on record" "$(cat "$work/replay.err")"
        now=$(seen)
        [ -n "$first" ] || first=$now
        check "$version: replay $round is the first one" [ "$now" = "$first" ]
        if [ $round = 1 ]; then
            is "$version: each library that QEMU maps is in the lock" "$(unknown_libraries)" ""
            run_code "$vmrun" diff --json "$lock" a
            is "$version: a running VM beside its lock" "$(jq -r '.drifts[] | select(.grade == "changes") | .name' <<<"$out")" ""
        fi
        "$vmrun" stop a --timeout 1 2>/dev/null
        exits "$version: replay $round ends" "$replay" 30 0
    done
    is "$version: a record of each" "$(find "$work/runs" -name 'a-*.json' | wc -l)" "$replays"
    check "$version: a record as its schema says" bash -c "for one in '$work'/runs/a-*.json; do python3 '$root/tests/fits_schema.py' '$root/configs/lock.schema.json' --whole <\$one || exit 1; done"
    record=$(find "$work/runs" -name 'a-*.json' | head -n 1)
    check "$version: what is in effect is on record" jq -e '.predicate.run.in_effect | map(select(.outcome == "held")) | length > 10' "$record"
    run_code "$vmrun" diff "$lock" "$work/runs"
    is "$version: a record beside its lock" "$(grep -c 'changes results' <<<"$out")" 0
    rm -r "$work/runs"

    planted "$version: kernel word" "boot line" nokaslr '.predicate.facts["boot line"].nokaslr = "given"'
    planted "$version: kernel" kernel release '.predicate.facts.kernel.release = "5.10.0"'
    planted "$version: microcode" cpu microcode '.predicate.facts.cpu.microcode = "0x1 on 0-1"'
    planted "$version: CPU model" cpu "model name" '.predicate.facts.cpu["model name"] = "Another CPU"'
    planted "$version: governor" power governor '.predicate.facts.power.governor = "performance on 0-1023"'
    planted "$version: turbo" power no_turbo '.predicate.facts.power.no_turbo = "2"'
    planted "$version: clock" clock source '.predicate.facts.clock.source = "another"'
    planted "$version: THP" memory "transparent huge pages" '.predicate.facts.memory["transparent huge pages"] = "another"'
    planted "$version: KVM" kvm kvm.halt_poll_ns '.predicate.facts.kvm["kvm.halt_poll_ns"] = "77"'
    planted "$version: sysctl" sysctl vm.swappiness '.predicate.facts.sysctl["vm.swappiness"] = "177"'
    planted "$version: topology" topology cores '.predicate.facts.topology.cores = "1024"'
    planted "$version: QEMU's build" qemu "build id" '.predicate.facts.qemu["build id"] = "00"'
    planted "$version: a library" libraries libglib-2.0.so.0 '.predicate.facts.libraries["libglib-2.0.so.0"] = "libglib-2.0.so.0.1 00"'
    has "$version: with the one that QEMU is loaded with now" "$(jq -r '.drifts[] | select(.group == "libraries") | .is' <<<"$out")" '^libglib-2\.0\.so\.[0-9.]+ [0-9a-f]{40}$'
    planted "$version: BIOS" firmware version '.predicate.facts.firmware.version = "0.0"'
    planted "$version: placement" placement placement.emulator '.predicate.plan.placement.emulator = "77"'
    planted "$version: command line" argv "-cpu" '.predicate.argv |= (index("-cpu") as $i | .[$i + 1] = "another")'

    cp "$work/disk.raw" "$work/kept.raw"
    printf x | dd of="$work/disk.raw" bs=1 seek=12345 conv=notrunc status=none
    run_code "$vmrun" replay --json "$lock"
    is "$version: a byte of the image" "$code $(drift_names "$out")" "2 images: $work/disk.raw"
    run_code "$vmrun" run --locked --no-console "$work/a.toml"
    is "$version: --locked refuses, too" "$code" 2
    has "$version: and tells both ways out" "$err" 'allow images'
    check "$version: nothing was started" test ! -e "$VMRUN_RUN_DIR/a"
    run_code "$vmrun" start --locked --allow images --record "$work/runs" "$work/a.toml"
    is "$version: allowed" "$code" 0
    is "$version: and on record" "$(jq -c '.predicate.allowed' "$work"/runs/a-*.json)" '["images"]'
    "$vmrun" stop a --timeout 1 2>/dev/null
    within 20 test ! -e "$VMRUN_RUN_DIR/a" || failed "$version: it ends"
    cp "$work/kept.raw" "$work/disk.raw"
    rm -r "$work/runs"

    run_code "$vmrun" diff --json --set cpu.count=2 "$lock" "$work/a.toml"
    is "$version: a knob" "$code $(jq -r '.drifts[] | select(.group == "spec") | .name + " " + .was + " " + .is' <<<"$out")" "1 cpu.count 1 2"
    run_code "$vmrun" replay --allow nonsense "$lock"
    is "$version: no such group" "$code" 2
done
if [ "${#qemus[@]}" -gt 1 ]; then # the lock is the last one's
    use_qemu "${qemus[0]}"
    run_code "$vmrun" replay --json "$lock"
    is "another QEMU: refused" "$code" 2
    has "another QEMU: its build id is named" "$(drift_names "$out")" '^qemu: build id$'
fi
for bad in /dev/null "$work/a.toml" "$work/none"; do
    run_code "$vmrun" replay "$bad"
    is "no lock: $bad" "$code" 2
done
run_code "$vmrun" diff "$lock" "$work/none"
is "diff with nothing" "$code" 2
finish
