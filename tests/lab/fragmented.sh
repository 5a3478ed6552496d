#!/bin/bash
# A node with enough free memory, but in small pieces: vmrun compacts and goes on where that helps; where it does not, it refuses with
# numbers and gives back what it was granted, for that is the only thing that it changed.
# lab: --memory 768 --kernel 6.12 --qemu 7.2
# lab: --all --memory 768 --kernel all --qemu all
# fault: other-node the spec asks for the other node, which is not fragmented
# fault: kept-page somebody raises the pool by one page meanwhile
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
at_end+=('for n in 0 1; do set_pages $n 0; done >/dev/null')
echo 'keep_free = "32M"' >host.toml # on a node as small as this, the default leaves nothing for VMs
export VMRUN_HOST_TOML=$PWD/host.toml
rom_spec s <<'TOML'
name = "s"
[cpu]
count = 2
[memory]
size = "256M"
page = "2M"
TOML
node=0
! fault other-node || node=1
# node_free: MiB; in_blocks: MiB of it in pieces that are large enough
node_free() { awk '$3 == "MemFree:" { print int($4 / 1024) }' /sys/devices/system/node/node0/meminfo; }
in_blocks() { awk '$2 == "0," { sum += $(NF - 1) * 2 + $NF * 4 } END { print sum + 0 }' /proc/buddyinfo; }

cat >fragment.pl <<'PERL'
# Of every 64 KiB one page is held, so that no 2M are in one piece.
# Takes MB of memory (numactl says where), gives back 15 of every 16 pages, locks what stays, and sleeps.
my ($mb, $page) = (shift, 4096);
my $start = syscall(9, 0, $mb << 20, 3, 0x22, -1, 0);           # mmap, private and anonymous
$start > 0 or die "mmap: $!";
syscall(28, $start, $mb << 20, 15) == 0 or die "NOHUGEPAGE: $!";  # madvise
syscall(28, $start, $mb << 20, 23) == 0 or die "POPULATE_WRITE: $!";
for (my $at = 0; $at < $mb << 20; $at += 16 * $page) {
    syscall(28, $start + $at + $page, 15 * $page, 4) == 0 or die "DONTNEED: $!";
}
syscall(325, $start, $mb << 20, 1) == 0 or die "mlock2: $!";      # those that are there
$| = 1;
print "ready\n";
sleep 1000;
PERL
echo 0 >/proc/sys/vm/compaction_proactiveness
echo 0 >/proc/sys/vm/compact_unevictable_allowed # what is locked stays where it is
sync
echo 3 >/proc/sys/vm/drop_caches
ulimit -l unlimited
numactl --membind=0 perl fragment.pl $(($(node_free) - 90)) >fragment.log 2>&1 &
fragmenter=$!
at_end+=("kill $fragmenter 2>/dev/null")
check "node 0 fragmented" wait_for 90 grep -q ready fragment.log || die "$(cat fragment.log)"
fact "fragmented node 0" "$(node_free) MiB free, $(in_blocks) MiB of it in pieces of 2M and more"
check "256M are free on it" test "$(node_free)" -gt 300
check "but not in pieces of 2M" test "$(in_blocks)" -lt 200
# Neither the kernel nor vmrun can make room, and what was granted must go back.
set_pages 0 3 >/dev/null
before=$(machine_state)
refused "256M of the fragmented node are refused, with numbers" 1 "node 0 has no room for 1[0-9]* more 2M pages: the kernel granted" timeout -s KILL 60 vmrun run --set 'memory.nodes=['$node']' s.toml
! fault kept-page || set_pages 0 4 >/dev/null
equal "and the pool is as before" "$before" "$(machine_state)"
fact "pool of the fragmented node after the refusal" "$(pages 0)"
# Pages that may be moved: room is made by compaction.
echo 1 >/proc/sys/vm/compact_unevictable_allowed
if up s --set 'memory.nodes=['$node']'; then
    equal "once pages may be moved, compaction makes room" "0:128" "$(huge_pages "${qemu[s]}")"
    fact "pool after compaction" "$(pages 0)"
    kill_vm s
fi
set_pages 0 0 >/dev/null
kill "$fragmenter"
wait "$fragmenter" 2>/dev/null
end
