#!/bin/bash
# page = "2M": the pool rises by exactly the deficit, guest memory is on huge pages, and the pool is as before afterwards: for
# one VM, for two that overlap and end in both orders, and when it is refused.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
take_pool

# vm NAME MIB: a spec for the ROM (a paused or halted guest is enough to hold pages)
vm() {
    { rom_accel; printf '[cpu]\ncount = 1\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "%dM"\npage = "2M"\n' "$2"; rom_boot; } | spec "$1"
}
start() { "$vmrun" start "$work/$1.toml" 2>/dev/null || failed "start of $1"; }
end() { "$vmrun" kill "$1" 2>/dev/null || failed "kill of $1"; }
vm a 256
vm b 64

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    use_qemu "$qemu"
    for present in 0 40 200; do # pages in the pool beforehand; the VM needs 128
        set_pool "$present"
        remember
        start a
        deficit=$((present < 128 ? 128 - present : 0))
        is "$version, $present pages before: the pool rose by the deficit" "$(($(our_pool) - present))" "$deficit"
        child=$(qemu_of a)
        is "$version, $present pages before: the guest's pages are huge" "$(huge_pages_of "$child")" 128
        is "$version, $present pages before: they came from the pool" "$(($(our_pool) - $(pool_free)))" 128
        has "$version: bound to node 0" "$(grep ' huge ' "/proc/$child/numa_maps")" 'bind[^ ]*:0 '
        [ "$("$vmrun" show a --json | jq '[.memory[] | select(.page == "2M") | .pages] | add')" = 128 ] || failed "$version: show tells 128 pages"
        end a
        as_before "$version, $present pages before: as before"
    done
done
set_pool 0

for order in "a b" "b a"; do
    for present in 0 100; do
        set_pool "$present"
        remember
        start a
        is "$present before; with a" "$(our_pool)" $((present < 128 ? 128 : present))
        start b
        is "$present before; with a and b" "$(our_pool)" 160
        # shellcheck disable=SC2086
        set -- $order
        end "$1"
        left=$([ "$2" = a ] && echo 128 || echo 32)
        check "$present before; after $1 the other still has its $left pages" test "$(($(our_pool) - $(pool_free)))" = "$left"
        [ "$present" != 0 ] || is "$present before; $1's raise is given back at once" "$(our_pool)" "$left"
        end "$2"
        as_before "$present before; ended $order: as before"
    done
done
set_pool 0

# more than the machine has, and more than it may give
total=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
available=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
remember
vm huge $((total / 2 * 2 * 2))
run_code "$vmrun" start "$work/huge.toml"
is "memory larger than the machine: exit code" "$code" 2
has "it names the key" "$err" '^error: memory'
has "it has the need" "$err" "needs $((total / 2 * 2))|needs $((total / 2 * 2 * 2 / 1024))"
has "it has what there is, per node" "$err" 'node 0 has [0-9]+'
has "and says what helps" "$err" '^help: '
as_before "nothing changed"
use_qemu "${qemus[0]}" 'keep_free = "1024G"'
vm modest 64
run_code "$vmrun" start "$work/modest.toml"
is "keep_free of host.toml: exit code" "$code" 2
has "keep_free is told" "$err" 'node 0 has'
as_before "nothing changed"
use_qemu "${qemus[0]}"
echo "note: $available MiB were available on this machine"

# pages that the kernel does not grant after all: the guest's node is full of somebody else's pages
run_code "$vmrun" start "$work/modest.toml"
is "the same VM without keep_free starts" "$code" 0
end modest
as_before "as before"

# pages that were free when the VM was planned, and are somebody else's when QEMU maps its memory
cat >"$work/thief" <<THIEF
#!/bin/bash
case " \$* " in *' -M none '*) ;; *)
    exec {taken}< <(exec perl -e 'open(my \$pool, "<", "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages");
        my \$pages = <\$pool>; \$| = 1;
        print syscall(9, 0, \$pages << 21, 3, 0x48022, -1, 0), "\\n"; close STDOUT; close STDERR; sleep 6')
    read -r -u "\$taken" && exec {taken}<&-
    ;;
esac
exec "${qemus[0]}" "\$@"
THIEF
chmod 755 "$work/thief"
set_pool 32
remember
use_qemu "$work/thief"
# one whose memory QEMU makes
sed 's/^\[memory\]/&\npolicy = "interleave"/' "$work/modest.toml" >"$work/later.toml"
run_code "$vmrun" start "$work/later.toml"
is "pages that others take before QEMU has them: exit code" "$code" 1
has "it is told that others took them" "$err" 'somebody else took huge pages that were free when this VM was planned: start it again'
has "with what QEMU says" "$err" 'unable to map backing store'
# shellcheck disable=SC2317
all_free() { [ "$(pool_free)" = 32 ]; }
check "the other's pages are free again" within 15 all_free
as_before "as before"
use_qemu "${qemus[0]}"
# vmrun makes the memory of a VM of one node itself: nobody takes it any more, and what others have claimed is seen before QEMU starts
exec {claimed}< <(exec perl -e '$| = 1; print syscall(9, 0, 32 << 21, 3, 0x40021, -1, 0), "\n"; close STDOUT; close STDERR; sleep 60')
claimer=$!
read -r -u "$claimed"
run_code "$vmrun" start "$work/modest.toml"
is "pages that others have claimed and not touched: exit code" "$code" 1
has "it is told, too" "$err" 'could not fill 64M of 2M pages.*somebody else took huge pages'
hasnt "before QEMU starts" "$err" 'QEMU ended'
kill "$claimer"
exec {claimed}<&-
as_before "as before"
use_qemu "$work/thief"
run_code "$vmrun" start "$work/modest.toml"
is "who wants them between vmrun and QEMU gets none" "$code" 0
end modest
check "all are free again" within 15 all_free # the thief had QEMU's open files
use_qemu "${qemus[0]}"
run_code "$vmrun" start "$work/modest.toml"
is "started again it has them" "$code" 0
end modest
as_before "as before"
finish
