#!/bin/bash
# Every knob of [[disk]] and [[share]], asked for and then seen: KNOB<TAB>name<TAB>asked<TAB>seen, where `seen` is the guest's word
# (/sys/block, its mounts) or QEMU's (QMP). Status 1 when one is not as asked. Runs in the lab, and anywhere else as root:
#   VMRUN=build/vmrun GUEST=DIR QEMU=FILE [ACCEL=tcg] VMRUN_RUN_DIR=... VMRUN_HOST_TOML=... tests/lab/knobs/storage.sh
# lab: --timeout 900 --kernel 6.12 --qemu 10.0
# lab: --all --timeout 900 --kernel all --qemu all
# fault: rings the spec asks for shorter rings
# fault: limit the spec asks for another limit
# shellcheck disable=SC2016 # what is in single quotes is for the guest
set -u
vmrun=${VMRUN:-vmrun} guest=${GUEST:-/lab/guest} accel=${ACCEL:-auto}
work=$(mktemp -d "${KNOB_DIR:-/root}/knobs.XXXXXX")
chmod 755 "$work"
cd "$work" || exit 1
keeper='' bad=0 seen=0
fault() { [ "${LAB_FAULT:-}" = "$1" ]; }
tidy() {
    trap - EXIT
    [ -z "$keeper" ] || { "$vmrun" kill k >/dev/null 2>&1; wait "$keeper" 2>/dev/null; }
    [ -z "${loop:-}" ] || losetup -d "$loop"
    cd / && rm -rf "$work"
    echo "$seen knobs seen, $bad not as asked"
    [ "$bad" = 0 ] && [ "$seen" -gt 0 ]
    exit
}
trap tidy EXIT
# knob NAME ASKED SEEN
knob() {
    printf 'KNOB\t%s\t%s\t%s\n' "$1" "$2" "$3"
    seen=$((seen + 1))
    [ "$2" = "$3" ] || { bad=$((bad + 1)); echo "not as asked: $1: '$2', seen '$3'"; }
}
die() { echo "$*"; tail -n 20 k.err k.log 2>/dev/null; bad=$((bad + 1)); exit 1; }
begin_vm() {
    : >k.log
    "$vmrun" run k.toml >k.log 2>k.err </dev/null &
    keeper=$!
}
# up SCRIPT <KEYS: a VM `k` with these keys; SCRIPT runs in the guest, `say` tells
up() {
    {
        printf 'name = "k"\naccel = "%s"\n[cpu]\ncount = 2\npin = "off"\n[memory]\nsize = "192M"\npage = "4K"\n' "$accel"
        cat
        printf '[boot]\nkernel = "%s/vmlinuz"\ninitrd = "%s/initrd"\n' "$guest" "$guest"
        printf 'cmdline = "console=ttyS0 quiet no_timer_check nohz=off mitigations=off vmrun.more vmrun.then=idle vmrun.do=%s"\n' "$(base64 -w0 <<<"$1")"
    } >k.toml
    begin_vm
    local end=$((SECONDS + 180)) again=2
    until grep -q '^guest: ready' k.log; do
        if ! kill -0 "$keeper" 2>/dev/null; then
            # QEMU 10.0's TCG with several threads, in one boot of some dozens: its own assertion, before the guest is up
            if [ "$again" = 0 ] || ! grep -q 'iotlb_to_section: Assertion' k.err; then die "the VM ended"; fi
            again=$((again - 1))
            echo "note: QEMU's TCG lost itself (iotlb_to_section), once more"
            begin_vm
        fi
        [ "$SECONDS" -lt "$end" ] || die "the VM does not get ready"
        sleep 0.2
    done
}
down() {
    "$vmrun" stop k >/dev/null 2>&1 || bad=$((bad + 1))
    wait "$keeper" || { bad=$((bad + 1)); cat k.err; }
    keeper=''
}
qemu_pid() { "$vmrun" show k --json | jq .qemu; }
# qmp COMMAND [ARGUMENTS]
qmp() { "$vmrun" qmp k "{\"execute\":\"$1\"${2:+,\"arguments\":$2}}" 2>&1; }
qom() { qmp qom-get "{\"path\":\"$1\",\"property\":\"$2\"}" | jq -c 'if type == "object" and has("return") then .return else . end'; }
device() { qom "/machine/peripheral/$1" "$2" | tr -d '"'; }
nodes() { qmp query-named-block-nodes | jq -c 'if type == "object" and has("return") then .return else . end'; }
node() { jq -r --arg name "$1" ".[] | select(.\"node-name\" == \$name) | $2" <<<"$nodes"; }
said() { tr -d '\r' <k.log | sed -n "s/^guest: $1/\1/p" | head -n 1; }
# not_had NAME ASKED PATTERN <KEYS: what this QEMU has not: a plan with these keys is refused in those words
not_had() {
    local words=planned
    { printf 'name = "r"\n[cpu]\ncount = 2\n[memory]\nsize = "64M"\npage = "4K"\n'; cat; } >r.toml
    "$vmrun" plan r.toml >r.out 2>&1 || { words=$(grep -m1 '^error: ' r.out); [[ ! $words =~ $3 ]] || words='*refused*'; }
    printf 'KNOB\t%s\t%s\t%s\n' "$1" "$2" "$words"
    seen=$((seen + 1))
    [ "$words" = '*refused*' ] || { bad=$((bad + 1)); echo "not refused as it should: $1: '$words'"; }
}
# The guest's disks by name; those of SCSI as `lunN`, because sd names what it probes side by side in any order; queues of an NVMe
# disk are those of its one path where the kernel made a multipath head for it.
disks='for d in /sys/block/vd* /sys/block/sd* /sys/block/nvme*; do [ -e $d ] || continue; q=$d/queue; name=${d##*/}; mq=$d/mq
case $name in
sd*) name=lun$(readlink -f $d/device | sed "s/.*://"); ln -s /dev/${d##*/} /dev/$name;;
nvme*c*) continue;;
nvme*) for x in /sys/block/nvme0c*n1/mq; do [ ! -e $x ] || mq=$x; done;;
esac
read -r l <$q/logical_block_size; read -r p <$q/physical_block_size; read -r w <$q/write_cache; read -r m <$q/discard_max_bytes
s=$(cat $d/serial 2>/dev/null || cat $d/device/serial 2>/dev/null); n=0; for x in $mq/*; do n=$((n + 1)); done
f=$(cat $d/device/features 2>/dev/null); say "disk $name queues=$n logical=$l physical=$p write=$w discard=$m serial=$(echo $s) packed=$(echo "$f" | cut -c35)"
done'
disk() { said "disk $1 .*$2=\([^=]*\)\( [a-z]*=.*\)*"; }
has() { qmp device-list-properties "{\"typename\":\"$1\"}" | grep -q "\"$2\""; }

rings=128 rate=500
! fault rings || rings=64
! fault limit || rate=400
for n in a b c d e f; do truncate -s 16M $n.raw; done
if [ -n "${LAB_KERNEL:-}" ]; then modprobe -a kvm_amd loop; else modprobe loop 2>/dev/null; fi
loop=$(losetup -f --show f.raw) || loop='' # a block device
qemu-img create -q -f qcow2 base.qcow2 16M
cp base.qcow2 untouched

# --- cache modes, rings, block sizes, I/O threads, limits ---
up "$disks" <<TOML
[[disk]]
path = "a.raw"
cache = "none"
queues = 2
queue_size = $rings
packed = true
logical_block_size = 4096
physical_block_size = 4096
serial = "SERIAL,x=y"
poll_max_ns = 20000
aio_max_batch = 8
thread_pool_min = 1
thread_pool_max = 4
[[disk]]
path = "b.raw"
cache = "writeback"
aio = "threads"
packed = false
detect_zeroes = "unmap"
iothread_pool = "shared"
limit = { iops = $rate, iops_burst = 900, burst_seconds = 7, bytes_read = "8M" }
[[disk]]
path = "c.raw"
cache = "writethrough"
iothread_pool = "shared"
limit = { group = "both", bytes = "16M" }
[[disk]]
path = "d.raw"
cache = "directsync"
aio = "native"
discard = false
iothread = false
limit = { group = "both" }
[[disk]]
path = "e.raw"
cache = "unsafe"
detect_zeroes = "on"
read_only = false
TOML
nodes=$(nodes)
asked=(none 'true false write back' writeback 'false false write back' writethrough 'false false write through'
    directsync 'true false write through' unsafe 'false true write back')
for i in 0 1 2 3 4; do
    letter=$(printf "\\$(printf %o $((97 + i)))")
    knob "disk.cache = ${asked[2 * i]} (direct, no-flush, guest's write_cache)" "${asked[2 * i + 1]}" \
        "$(node disk$i-image '"\(.cache.direct) \(.cache."no-flush")"') $(disk "vd$letter" write)"
done
knob disk.queues 2 "$(disk vda queues)"
knob disk.queue_size 128 "$(device disk0 queue-size)"
knob "disk.packed = true (negotiated)" 1 "$(disk vda packed)"
knob "disk.packed = false (negotiated)" 0 "$(disk vdb packed)"
knob disk.logical_block_size 4096 "$(disk vda logical)"
knob disk.physical_block_size 4096 "$(disk vda physical)"
knob disk.serial SERIAL,x=y "$(said 'disk vda .*serial=\(.*\) packed=.*')"
threads=$(qmp query-iothreads | jq -c 'if type == "object" then .return else . end')
iothread() { jq -r --arg id "$1" ".[] | select(.id == \$id) | .\"$2\"" <<<"$threads"; }
knob "disk.iothread (own)" /objects/io-disk0 "$(device disk0 iothread)"
knob "disk.iothread_pool (first)" /objects/pool-shared "$(device disk1 iothread)"
knob "disk.iothread_pool (second)" /objects/pool-shared "$(device disk2 iothread)"
knob "disk.iothread = false" none "$(device disk3 iothread | sed 's/^$/none/')"
knob disk.poll_max_ns 20000 "$(iothread io-disk0 poll-max-ns)"
knob disk.aio_max_batch 8 "$(iothread io-disk0 aio-max-batch)"
knob disk.thread_pool_min 1 "$(qom /objects/io-disk0 thread-pool-min)"
knob disk.thread_pool_max 4 "$(qom /objects/io-disk0 thread-pool-max)"
knob "disk.detect_zeroes = unmap" unmap "$(node disk1-image .detect_zeroes)"
knob "disk.detect_zeroes = on" on "$(node disk4-image .detect_zeroes)"
knob "disk.discard = true (guest may discard)" yes "$([ "$(disk vda discard)" -gt 0 ] && echo yes || echo no)"
limits() { qom "/objects/$1" limits | jq -r "$2"; }
knob disk.limit.iops 500 "$(limits disk1-limits '."iops-total"')"
knob disk.limit.iops_burst 900 "$(limits disk1-limits '."iops-total-max"')"
knob disk.limit.burst_seconds 7 "$(limits disk1-limits '."iops-total-max-length"')"
knob disk.limit.bytes_read 8388608 "$(limits disk1-limits '."bps-read"')"
knob "disk.limit.group (bytes)" 16777216 "$(limits limit-both '."bps-total"')"
knob "disk.limit.group (second disk's filter)" throttle "$(node disk3-limit .drv)"
pid=$(jq -r .qemu.pid "${VMRUN_RUN_DIR:-/run/vmrun}/k/state.json")
flags() { # open(2) flags of QEMU's fd on a file
    local link
    link=$(find "/proc/$pid/fd" -lname "$work/$1" | head -n 1)
    echo $((8#$(awk '$1 == "flags:" { print $2 }' "/proc/$pid/fdinfo/${link##*/}") & 8#40000))
}
knob "disk.cache = none (O_DIRECT)" 16384 "$(flags a.raw)"
knob "disk.cache = writeback (no O_DIRECT)" 0 "$(flags b.raw)"
mapping=no
if has virtio-blk-pci iothread-vq-mapping; then mapping=yes; fi
mqes=no
if has nvme mqes; then mqes=yes; fi
down

# --- other buses, qcow2, ephemeral, create, share ---
mkdir shared
echo "from the host" >shared/hello
share='' mounting=''
if [ -n "$(find /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd -maxdepth 0 2>/dev/null)$(grep -s virtiofsd "${VMRUN_HOST_TOML:-/etc/vmrun/host.toml}")" ]; then
    share='[[share]]
path = "shared"
tag = "data"
queue_size = 64'
    mounting='mkdir /mnt; mount -t virtiofs data /mnt && say "share $(cat /mnt/hello)"; echo "from the guest" >/mnt/back
cp /bin/busybox /mnt/sh; chown 0:0 /mnt/sh; chmod 0755 /mnt/sh; chmod 4755 /mnt/sh; chmod 2755 /mnt/sh'
fi
up "$disks
dd if=/dev/urandom of=/dev/lun0 bs=64k count=8 oflag=direct 2>/dev/null && say wrote base
dd if=/dev/urandom of=/dev/vda bs=64k count=8 oflag=direct 2>/dev/null && say wrote new
$mounting" <<TOML
[[disk]]
path = "base.qcow2"
interface = "virtio-scsi"
iothread_pool = "scsi"
queues = 1
queue_size = 64
packed = true
ephemeral = true
l2_cache = "128K"
[[disk]]
path = "b.raw"
interface = "virtio-scsi"
iothread_pool = "scsi"
serial = "SCSI-b"
cache = "writethrough"
[[disk]]
path = "c.raw"
interface = "nvme"
queues = 2
serial = "NVME-c"
logical_block_size = 4096
[[disk]]
path = "new.raw"
create = { size = "24M", preallocation = "falloc" }
[[disk]]
path = "new.qcow2"
create = { size = "32M", preallocation = "metadata" }
$([ -z "$loop" ] || printf '[[disk]]\npath = "%s"\nserial = "BLOCK-f"\n' "$loop")
$share
TOML
nodes=$(nodes)
knob "disk.interface = virtio-scsi" "lun0 lun1" "$(tr -d '\r' <k.log | sed -n 's/^guest: disk \(lun.\) .*/\1/p' | sort | paste -sd' ')"
knob "disk.interface = virtio-scsi, one controller for a pool" "1" "$(qmp query-iothreads | jq 'if type == "object" then .return else . end | [.[] | select(.id == "pool-scsi")] | length')"
knob "disk.queues (virtio-scsi)" 1 "$(device scsi0 num_queues)"
knob "disk.queue_size (virtio-scsi)" 64 "$(device scsi0 virtqueue_size)"
knob "disk.cache = writethrough (virtio-scsi, guest)" "write through" "$(disk lun1 write)"
knob "disk.interface = nvme (serial in the guest)" NVME-c "$(disk nvme0n1 serial)"
knob "disk.queues (nvme)" 2 "$(disk nvme0n1 queues)"
knob "disk.logical_block_size (nvme)" 4096 "$(disk nvme0n1 logical)"
[ -z "$loop" ] || knob "disk.path (a block device)" "$loop BLOCK-f" "$(readlink "/proc/$(qemu_pid)/fd/"* | grep -m1 "^$loop\$") $(disk vdc serial)"
knob "disk.ephemeral (overlay on the image)" "qcow2 false true" "$(node disk0-overlay '"\(.drv) \(.ro)"') $(node disk0-image .ro)"
knob "disk.ephemeral (the guest wrote)" "base" "$(said 'wrote \(base\)')"
knob "disk.create (the guest wrote)" "new" "$(said 'wrote \(new\)')"
knob "disk.create raw (there while it runs)" "25165824" "$(stat -c %s new.raw)"
knob "disk.create preallocation = falloc" "25165824" "$(($(stat -c %b new.raw) * 512))"
knob "disk.create qcow2" "qcow2 33554432" "$(qemu-img info -U --output json new.qcow2 | jq -r '"\(.format) \(."virtual-size")"')"
if [ -n "$share" ]; then
    knob "share (read in the guest)" "from the host" "$(said 'share \(.*\)')"
    knob "share (written by the guest)" "from the guest" "$(cat shared/back)"
    knob "share (a setuid and a setgid bit by the guest's root)" "755 0" "$(stat -c '%a %u' shared/sh)"
    knob share.queue_size 64 "$(device share0 queue-size)"
fi
down
knob "disk.ephemeral (image afterwards)" unchanged "$(cmp base.qcow2 untouched && echo unchanged)"
knob "disk.ephemeral (nothing left)" "a.raw b.raw base.qcow2 c.raw d.raw e.raw f.raw new.qcow2 new.raw" "$(ls ./*.raw ./*.qcow2 | sed 's|./||' | sort | paste -sd' ')"

# --- what newer QEMUs have ---
if [ "$mapping" = yes ]; then
    up "$disks" <<TOML
[[disk]]
path = "a.raw"
iothreads = 2
[[disk]]
path = "c.raw"
interface = "nvme"
$([ "$mqes" = no ] || echo 'queue_size = 32')
TOML
    knob "disk.iothreads = 2 (mapping)" '["io-disk0-0","io-disk0-1"]' "$(qom /machine/peripheral/disk0 iothread-vq-mapping | jq -c '[.[].iothread]')"
    [ "$mqes" = no ] || knob "disk.queue_size (nvme, counted from 0)" 31 "$(device disk1 mqes)"
    down
else
    not_had "disk.iothreads = 2 (mapping)" '["io-disk0-0","io-disk0-1"]' 'has no iothread-vq-mapping' <<TOML
[[disk]]
path = "a.raw"
iothreads = 2
TOML
fi
[ "$mqes" = yes ] || not_had "disk.queue_size (nvme, counted from 0)" 31 'has a fixed one' <<TOML
[[disk]]
path = "a.raw"
interface = "nvme"
queue_size = 32
TOML
