#!/bin/bash
# Disks: io_uring past the page cache where file and host allow it; else what works on that very file, with a note; and a spec that
# insists is refused. What QEMU does is read from its open files, what works from the guest's own writing and reading back.
# lab: --kernel 6.12 --qemu 10.0
# lab: --all --kernel all --qemu all
# fault: page-cache the spec asks for the page cache
# fault: threads the spec asks for threads in place of io_uring
# fault: short-disk the guest's second disk is cut off while it runs
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
mkdir -p /mnt/ram
mount -t ramfs ramfs /mnt/ram # a file system without O_DIRECT
begin
truncate -s 16M /root/disk /mnt/ram/disk
at_end+=("rm -f /root/disk" "umount /mnt/ram" "echo 0 >/proc/sys/kernel/io_uring_disabled")

cache=none aio=auto
! fault page-cache || cache=writeback
! fault threads || aio=threads
spec d vmrun.disk=vda,vdb vmrun.then=idle <<TOML
name = "d"
[cpu]
count = 2
[memory]
size = "128M"
[[disk]]
path = "/root/disk"
format = "raw"
cache = "$cache"
aio = "$aio"
[[disk]]
path = "/mnt/ram/disk"
format = "raw"
cache = "writeback"
TOML
# insists KEY VALUE PATH: a spec whose disk insists
insists() { rom_spec i <<<"$(printf 'name = "i"\n[memory]\nsize = "32M"\n[[disk]]\npath = "%s"\nformat = "raw"\n%s = "%s"' "$3" "$1" "$2")"; }
# flags PATH: QEMU's open(2) flags of that file, octal
flags() {
    local fd
    find "/proc/${qemu[d]}/fd" -lname "$1" | while read -r fd; do
        awk '$1 == "flags:" { print $2 }' "/proc/${qemu[d]}/fdinfo/${fd##*/}"
    done | sort -u | paste -sd' '
}
direct() { local one; for one in $(flags "$1"); do [ $((8#$one & 040000)) != 0 ] || return 1; done; }
rings() { find "/proc/${qemu[d]}/fd" -lname '*io_uring*' | wc -l; }
# by_ring DISK: reads and writes that its iothread has given to io_uring, as the kernel's trace tells
trace=/sys/kernel/tracing
by_ring() {
    local tid
    tid=$(qmp /run/vmrun/d/qmp.sock query-iothreads | jq -r ".return[] | select(.id == \"io-$1\") | .\"thread-id\"")
    grep -cE -- "-$tid .*opcode (READ|WRITE)" $trace/trace
}
echo 1 | tee $trace/events/io_uring/io_uring_submit_{sqe,req}/enable >/dev/null 2>&1
# both_work: the guest wrote to its disks and read back, and the bytes are in the files
both_work() {
    local disk
    ! fault short-disk || truncate -s 0 /mnt/ram/disk
    for disk in vda vdb; do guest_says d "disk $disk write and read ok"; done
    for disk in /root/disk /mnt/ram/disk; do
        check "the guest's bytes are in $disk" sh -c "[ -s $disk ] && ! cmp -s -n 1048576 $disk /dev/zero"
    done
}

up d
both_work
check "vda is open past the page cache ($(flags /root/disk))" direct /root/disk
equal "vdb is not" "" "$(direct /mnt/ram/disk && flags /mnt/ram/disk)"
asked=$(by_ring disk0)
check "vda's iothread reads and writes by io_uring ($asked times)" test "$asked" -gt 0
fact "ext4, cache none" "open flags $(flags /root/disk), $asked reads and writes by io_uring, guest: $(tr -d '\r' <d.log | sed -n 's/^guest: \(disk vda .*\)/\1/p')"
fact "ramfs, cache writeback" "open flags $(flags /mnt/ram/disk), guest: $(tr -d '\r' <d.log | sed -n 's/^guest: \(disk vdb .*\)/\1/p')"
down d
as_before "machine as before"

insists cache none /mnt/ram/disk
refused "cache none is refused where O_DIRECT is not to be had" 2 'disk\[0\].cache: .*O_DIRECT' vmrun run i.toml

# io_uring off for all (2), or for those without CAP_SYS_ADMIN, as QEMU is (1)
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
    for off in 2 1; do
        echo $off >/proc/sys/kernel/io_uring_disabled
        rm /root/disk /mnt/ram/disk
        truncate -s 16M /root/disk /mnt/ram/disk
        if [ $off = 2 ]; then
            up d
            both_work
            check "vda is open past the page cache ($(flags /root/disk))" direct /root/disk
            equal "rings of io_uring with io_uring_disabled=$off" 0 "$(rings)"
            down d
        else
            # only the start counts: the rest is as with 2
            keys=$(sed '/^\[boot\]/,$d' d.toml)
            rom_spec d <<<"$keys"
            up d
            equal "rings of io_uring with io_uring_disabled=$off" 0 "$(rings)"
            kill_vm d
        fi
        check "vmrun says that vda fell back to native" grep -q 'disk\[0\].aio: native instead of io_uring: ' d.err
        check "vmrun says that vdb fell back to threads" grep -q 'disk\[1\].aio: threads instead of io_uring: ' d.err
        fact "io_uring_disabled=$off" "$(sed -n 's/^vmrun: note: \(disk.*\)/\1/p' d.err | paste -sd';')"
        insists aio io_uring /root/disk
        refused "aio io_uring is refused" 2 'disk\[0\].aio: "io_uring" was tried on this very file and failed' timeout -s KILL 60 vmrun run i.toml
    done
    echo 0 >/proc/sys/kernel/io_uring_disabled
fi

# a caller that may open few files: QEMU gets what libvirt gives it, as each disk's and card's queues take some
rom_spec few <<<'name = "few"
[memory]
size = "32M"'
check "start with 24 files" bash -c 'ulimit -n 24 && exec timeout -s KILL 60 vmrun start few.toml'
check "and QEMU may open as many as libvirt's" test "$(awk '/^Max open files/ { print $4 }' "/proc/$(qemu_of few)/limits")" -ge 32768
check "vmrun kill few" vmrun kill few
end
