#!/bin/bash
# Images by fs-verity, which needs a kernel that has it, on a file system made for it: their identity in constant time, another one for a
# byte that differs, the next best where a file has none; and what the kernel does with a byte that was turned over below it.
# The kernel reads an image once when it is sealed: with the processor's own SHA an emulated one takes 20 to 30 s for a GiB (of holes).
# lab: --all --kernel 6.12 --qemu 7.2 --timeout 1500
# lab: --all --kernel 6.1 --qemu 10.0 --timeout 1500
# fault: unsealed the images get no verity
# fault: same no byte differs
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
disk=/dev/shm/verity.ext4 # in memory: sparse, and quick
at_end+=("umount /mnt/images 2>/dev/null" "losetup -D" "rm -f $disk")
modprobe loop || die "no loop devices"
modprobe sha256_ssse3 # else the kernel's plain C: 2 MB/s here
truncate -s 12G "$disk"
mkfs.ext4 -q -O verity,^has_journal -E lazy_itable_init=1,discard "$disk" || die "mkfs.ext4 -O verity"
mkdir -p /mnt/images
mount -o loop "$disk" /mnt/images || die "mount"

# sealed FILE: FS_IOC_ENABLE_VERITY with SHA-256 and blocks of 4096
sealed() {
    ! fault unsealed || return 0
    perl -e 'open(my $file, "<", $ARGV[0]) or die "$!\n";
        ioctl($file, 0x40806685, pack("L4QL2QQ11", 1, 1, 4096, (0) x 16)) or die "$!\n"' "$1"
}
# image NAME SIZE [BYTE]: holes, a line in the middle of the first 32 MiB, and that byte after it
image() {
    truncate -s "$2" "/mnt/images/$1"
    printf 'somewhere in the image %s' "${3:-a}" | dd of="/mnt/images/$1" bs=4096 seek=4000 conv=notrunc status=none
}
# of IMAGE: a spec with that disk, as x.toml
of() {
    rom_spec x <<TOML
name = "x"
[memory]
size = "32M"
[[disk]]
path = "/mnt/images/$1"
format = "raw"
ephemeral = true
TOML
}
# identity LOCK IMAGE
identity() { jq -r --arg name "/mnt/images/$2" '.subject[]? | select(.name == $name) | .digest | to_entries[] | .key + " " + .value' "$1"; }
# locked NAME: x.toml into NAME.lock; the bytes that were read for it, and the shortest time that it took of three
locked() {
    local from took=() _
    for _ in 1 2 3; do
        from=$(now)
        sh -c 'vmrun lock x.toml -o "$1.lock" 2>"$1.told"; awk "/^rchar/ { print \$2 }" /proc/$$/io >"$1.read"' sh "$1"
        took+=("$(since "$from")")
    done
    cat "$1.read"
    printf '%s\n' "${took[@]}" | sort -n | head -n 1
}
# digest FILE: FS_IOC_MEASURE_VERITY's
digest() {
    perl -e 'open(my $file, "<", $ARGV[0]) or die "$!\n"; my $it = pack("SSx32", 0, 32);
        print ioctl($file, 0xc0046686, $it) ? unpack("H*", substr($it, 4, 32)) : "none"' "$1"
}

byte=b
! fault same || byte=a
image small 32M a
image other 32M "$byte"
image plain 64M a
sizes=(1G 10G)
[ -z "${LAB_FAULT:-}" ] || sizes=(1G)
for size in "${sizes[@]}"; do image "$size" "$size" a; done
for name in small other "${sizes[@]}"; do
    from=$(now)
    sealed "/mnt/images/$name" || die "the kernel does not seal $name"
    fact "sealing $name, s" "$(since "$from")"
done
! fault unsealed || sleep 3

of small
vmrun lock x.toml -o plain.lock >/dev/null 2>&1 # what else it reads is known from now on
mapfile -t small < <(locked small)
fact "lock of 32 MiB with verity, bytes read and s" "${small[*]}"
equal "the image is known by the kernel's digest" "fsverity-sha256 $(digest /mnt/images/small)" "$(identity small.lock small)"
for size in "${sizes[@]}"; do
    of "$size"
    mapfile -t large < <(locked "$size")
    fact "lock of $size with verity, bytes read and s" "${large[*]}"
    check "$size takes no more reading" [ "${large[0]}" -lt $((small[0] + 100000)) ]
    check "nor more time: ${small[1]} s, ${large[1]} s" awk "BEGIN { exit !(${large[1]} < 2 * ${small[1]} + 1) }"
    equal "$size is known by its own digest" "fsverity-sha256 $(digest "/mnt/images/$size")" "$(identity "$size.lock" "$size")"
done
check "none of them is read" sh -c '! grep -q "were read" ./*.told'

of plain
vmrun lock x.toml -o plain.lock 2>plain.told
equal "without a digest of the kernel's it is read" 1 "$(grep -c 'known by its content, of which 64M were read' plain.told)"
equal "and known by its content" xxh3_128 "$(identity plain.lock plain | cut -d' ' -f1)"

# a byte that differs, in an image of the same size, sealed as well
mv /mnt/images/small /mnt/images/kept
mv /mnt/images/other /mnt/images/small
began=$(now)
refused "a byte that differs is found" 2 "images.*/mnt/images/small.*fsverity-sha256" timeout -k 5 60 vmrun replay --stop-timeout 0 small.lock
fact "found in, s" "$(since "$began")"
check "nothing was started" test ! -e /run/vmrun/x
mv /mnt/images/small /mnt/images/other
mv /mnt/images/kept /mnt/images/small
check "the kernel lets nobody write to the image" sh -c '! echo x >>/mnt/images/small'

# a byte turned over below the file system: the digest is that of what was sealed, and the kernel hands out no other bytes
block=$(filefrag -e -b4096 /mnt/images/small | awk '$1 == "0:" { print $4 + 0 }')
before=$(digest /mnt/images/small)
umount /mnt/images
printf X | dd of="$disk" bs=1 seek=$((block * 4096 + 3)) conv=notrunc status=none
mount -o loop "$disk" /mnt/images
equal "the digest is that of what was sealed" "$before" "$(digest /mnt/images/small)"
check "no other bytes are read" sh -c '! dd if=/mnt/images/small of=/dev/null bs=4096 skip=4000 count=1 2>read.err && grep -q "Input/output error" read.err'
umount /mnt/images
rm "$disk"
end
