#!/bin/bash
# Memory that changes while the guest runs, and the kinds that do not: virtio-mem on 4K and 2M pages (whose pages nobody else is
# promised), merged, shared, transparent, locked on fault. What the guest, QEMU and the kernel say is compared.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
take_pool

query() { "$vmrun" qmp "$1" "$2"; }
# guest_memory NAME: kB, as the guest told it last
guest_memory() { console_of "$1" | sed -n 's/^guest: memory_kb=//p' | tail -n 1 | grep . || echo 0; }
grown() { [ "$(guest_memory "$1")" -ge "${2:-0}" ]; }
shrunk() { [ "$(guest_memory "$1")" -le "$2" ]; }
for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    use_qemu "$qemu"
    for page in 4K 2M; do
        echo "--- QEMU $version, $page pages"
        {
            printf 'name = "grow"\naccel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "192M"\nmax = "320M"\npage = "%s"\n' "$page"
            boot "memhp_default_state=online_movable vmrun.more vmrun.then=memory"
        } | spec grow
        set_pool 0
        remember
        run_in_background pid grow
        says grow '^guest: memory_kb=' "$pid" 150 || failed "$version: the guest gets ready" "$(cat "$work/grow.out" "$work/grow.err")"
        before=$(guest_memory grow)
        if [ "$page" = 2M ]; then
            is "$version: the pool has the pages of all it may get" "$(our_pool)" 160
            printf 'name = "other"\naccel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "64M"\npage = "2M"\n' | spec other
            run_code "$vmrun" plan "$work/other.toml"
            has "$version: nobody else is promised those that lie free ($(pool_free))" "$out" 'pool of 2M pages by 32'
        fi
        run_code "$vmrun" set grow memory=321M
        is "$version: more than memory.max is refused" "$code" 2
        has "$version: with the limits" "$err" 'wanted 192M to 320M, in steps of 2M'
        run_code "$vmrun" set grow memory=256M --timeout 30
        is "$version: vmrun set memory=256M" "$code" 0
        check "$version: the guest has 64M more" within 10 grown grow $((before + 65536 - 4096))
        is "$version: QEMU says so" "$(query grow query-memory-devices | jq '[.[].data.size] | add')" $((64 << 20))
        run_code "$vmrun" set grow memory=192M --timeout 30
        is "$version: vmrun set memory=192M" "$code" 0
        check "$version: and less again" within 10 shrunk grow "$before"
        "$vmrun" kill grow 2>/dev/null || failed "$version: vmrun kill"
        exit_of "$pid" 30
        as_before "$version: the machine is as before"
    done

    { printf 'name = "kinds"\naccel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\nmerge = true\ndump = true\n'; rom_boot; } | spec kinds
    "$vmrun" start "$work/kinds.toml" 2>/dev/null
    is "$version: the backend may be merged, and is dumped" "$(query kinds query-memdev | jq -c '[.[0].merge, .[0].dump]')" '[true,true]'
    is "$version: the kernel may merge its pages" "$(awk '/^Size:/ { big = $2 >= 65536 } /^VmFlags:/ && big && / mg/ { yes = 1 } END { print yes + 0 }' "/proc/$(qemu_of kinds)/smaps")" 1
    "$vmrun" kill kinds 2>/dev/null
    { printf 'name = "kinds"\naccel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\nshared = true\n'; rom_boot; } | spec kinds
    "$vmrun" start "$work/kinds.toml" 2>/dev/null
    is "$version: the backend is shared, neither merged nor dumped" "$(query kinds query-memdev | jq -c '[.[0].share, .[0].merge, .[0].dump]')" '[true,false,false]'
    "$vmrun" kill kinds 2>/dev/null
    { printf 'name = "kinds"\naccel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\nlock = "on-fault"\n'; rom_boot; } | spec kinds
    if [ "$version" = 7.2 ]; then
        run_code "$vmrun" start "$work/kinds.toml"
        is "$version: lock = \"on-fault\" is refused" "$code" 2
    elif ! prlimit --memlock=unlimited:unlimited true 2>/dev/null; then
        echo "note: root may not raise its memlock limit here; the lab shows lock = \"on-fault\""
    else
        "$vmrun" start "$work/kinds.toml" 2>/dev/null
        is "$version: memory is locked, once touched" "$(awk '/^Size:/ { big = $2 >= 65536 } /^VmFlags:/ && big && / lo/ && / lf/ { yes = 1 } END { print yes + 0 }' "/proc/$(qemu_of kinds)/smaps")" 1
        "$vmrun" kill kinds 2>/dev/null
    fi
    thp=$(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled)
    { printf 'name = "kinds"\naccel = "tcg"\n[cpu]\npin = "off"\n[memory]\nsize = "64M"\npage = "transparent"\nprealloc = true\n'; rom_boot; } | spec kinds
    run_code "$vmrun" start "$work/kinds.toml"
    if [ "$thp" = never ]; then
        is "$version: transparent pages are refused where the host has none" "$code" 2
    else
        huge=$(awk '/^AnonHugePages:/ { sum += $2 } END { print sum }' "/proc/$(qemu_of kinds)/smaps")
        check "$version: the kernel made 2M pages of the guest's memory ($huge kB)" test "$huge" -ge 32768
        "$vmrun" kill kinds 2>/dev/null
    fi
done
finish
