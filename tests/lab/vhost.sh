#!/bin/bash
# Two guests and the host on a bridge: data moves over every queue of a multiqueue card, by the kernel's vhost workers, of whichever
# kind (threads of QEMU, or kernel threads of their own); packed rings are negotiated where they can be, and only there.
# lab: --kernel 6.12 --qemu 10.0
# lab: --kernel 6.1 --qemu 7.2
# lab: --all --kernel all --qemu all
# fault: queues=1 the spec asks for one queue
# fault: vhost=false packets go through QEMU
# fault: split the spec asks for a split ring on the disk
# fault: wrong-worker a vhost worker is moved to a vCPU's CPU
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
truncate -s 16M /root/disk
at_end+=("rm -f /root/disk received.*")

queues=2 vhost=true packed=true
! fault queues=1 || queues=1
! fault vhost=false || vhost=false
! fault split || packed=false
for name in a b; do
    case $name in a) ip=10.9.0.2 ;; b) ip=10.9.0.3 ;; esac
    spec $name "vmrun.ip=$ip" vmrun.gw=10.9.0.1 <<TOML
name = "$name"
[cpu]
count = 2
[memory]
size = "128M"
[[net]]
bridge = "br0"
queues = $queues
vhost = $vhost
[[disk]]
path = "/root/disk"
format = "raw"
read_only = true
packed = $packed
TOML
    mkfifo $name.in
    exec {fd}<>$name.in
    declare "in_$name=$fd"
done

# in_guest NAME COMMAND: typed at its shell; prints what it prints. False when it is not done within a minute.
in_guest() {
    local fd=in_$1 name=$1 before
    shift
    before=$(wc -l <"$name.log")
    echo "$*; echo do''ne" >&"${!fd}" # the quotes: what is typed is echoed, too
    wait_for 60 eval "tail -n +$((before + 1)) $name.log | grep -q ^done" || { not_ok "in guest $name: $*"; tail -n 5 "$name.log"; return 1; }
    tail -n "+$((before + 1))" "$name.log" | tr -d '\r' | sed '/^done/q' | grep -v "^done\|^guest#\|^$\|do''ne"
}
# run_time TID: nanoseconds that a thread ran
run_time() { cut -d' ' -f1 "/proc/$1/schedstat"; }
# interrupts NAME: of each receive queue, in order, as the guest counts
interrupts() { in_guest "$1" "cat /proc/interrupts" | awk '/virtio[0-9]*-input/ { sum = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i; print sum }' | paste -sd' '; }

for name in a b; do
    fd=in_$name
    input=/dev/fd/${!fd} run $name
done
for name in a b; do
    check "guest $name is ready" boot_wait $name.log "${keeper[$name]}" || die "$(cat $name.err)"
    qemu[$name]=$(qemu_of $name)
    guest_says $name "eth0 driver=virtio_net .*tx_queues=2 rx_queues=2"
    guest_says $name "ping 10.9.0.1 3/3"
    guest_says $name "virtio[0-9]* device=blk driver=virtio_blk .*packed=1"
    guest_says $name "virtio[0-9]* device=net driver=virtio_net mq=1 packed=0"
    mapfile -t workers < <(vhost_workers "${qemu[$name]}")
    equal "vhost workers of $name" 2 "${#workers[@]}"
    used=
    for tid in $(vcpus $name); do used+=${used:+,}$(cpus_of "$tid"); done
    ! fault wrong-worker || taskset -pc "${used%%,*}" "${workers[0]% *}" >/dev/null
    for worker in "${workers[@]}"; do
        equal "CPUs of worker ${worker% *} that are a vCPU's" "$(cpus_of "${worker% *}")" "$(without "$(cpus_of "${worker% *}")" "$used" | sed 's/^\([0-9]*\),\([0-9]*\)$/\1-\2/')"
    done
    fact "vhost workers of $name" "${#workers[@]}, ${workers[0]#* } of QEMU's threads, on $(cpus_of "${workers[0]% *}")"
done
case $LAB_KERNEL in 6.1) kind=out ;; *) kind=in ;; esac
equal "kind of the workers: in or out of QEMU's threads" "$kind" "${workers[0]#* }"

# Each of a guest's CPUs sends through a queue of its own, and the answers come back on that queue.
mapfile -t workers < <(vhost_workers "${qemu[a]}"; vhost_workers "${qemu[b]}")
declare -A ran
for worker in "${workers[@]}"; do ran[${worker% *}]=$(run_time "${worker% *}"); done
before=$(interrupts a)
for cpu in 0 1; do
    socat -u TCP-LISTEN:500$cpu,reuseaddr CREATE:received.$cpu &
    sinks+=($!)
    in_guest a "taskset $((cpu + 1)) sh -c 'dd if=/dev/zero bs=64k count=64 2>/dev/null | nc 10.9.0.1 500$cpu'"
done
for sink in "${sinks[@]}"; do wait_for 20 sh -c "! kill -0 $sink" || kill "$sink"; done
for cpu in 0 1; do equal "bytes from CPU $cpu of a to the host" 4194304 "$(stat -c %s received.$cpu)"; done
after=$(interrupts a)
for queue in 1 2; do
    check "receive queue $((queue - 1)) of a was used (interrupts: $(cut -d' ' -f$queue <<<"$before"), then $(cut -d' ' -f$queue <<<"$after"))" \
        test "$(cut -d' ' -f$queue <<<"$after")" -gt "$(cut -d' ' -f$queue <<<"$before")"
done
fact "interrupts of a's receive queues" "$before, then $after"
in_guest a "for c in 0 1; do nc -l -p 600\$c >/tmp/received.\$c & done"
for cpu in 0 1; do in_guest b "taskset $((cpu + 1)) sh -c 'dd if=/dev/zero bs=64k count=64 2>/dev/null | nc 10.9.0.2 600$cpu'"; done
for cpu in 0 1; do
    wait_for 20 eval "[ \$(in_guest a 'stat -c %s /tmp/received.$cpu') = 4194304 ]"
    equal "bytes from CPU $cpu of b to a" 4194304 "$(in_guest a "stat -c %s /tmp/received.$cpu")"
done
for worker in "${workers[@]}"; do
    tid=${worker% *}
    more=$((($(run_time "$tid") - ran[$tid]) / 1000))
    check "vhost worker $tid moved data (ran $more us)" test "$more" -gt 2000
    fact "worker $tid ran" "$more us"
done

# Which rings were negotiated, as QEMU says
# (11.1.3 dies of that question, by an assertion in qapi-visit-core.c: there the guest's word must do)
if [ "$LAB_QEMU" != 11.1 ]; then
    for device in disk0:1 net0:0; do
        status=$(vmrun qmp a "{\"execute\":\"x-query-virtio-status\",\"arguments\":{\"path\":\"/machine/peripheral/${device%:*}/virtio-backend\"}}")
        equal "packed ring negotiated on ${device%:*}" "${device#*:}" "$(sed 's/.*"guest-features"//' <<<"$status" | grep -c RING_PACKED)"
    done
fi
check "vmrun has said that packed is off with vhost" grep -q 'packed: off: kernel vhost has no packed ring' a.err
sed 's/^vhost = .*/vhost = true\npacked = true/' a.toml >p.toml
refused "packed = true with vhost is refused" 2 'net\[0\].packed: true.*vhost' vmrun plan --set name=p p.toml
down a
down b
end
equal "vhost workers left" "" "$(grep -ls '^vhost-' /proc/[0-9]*/comm /proc/[0-9]*/task/*/comm)"

# The other kind of worker on the same kernel
if [ "$LAB_KERNEL" != 6.1 ]; then
    modprobe -r vhost_net
    modprobe -r vhost
    check "vhost with workers of its own" modprobe vhost fork_from_owner_default=0
    modprobe vhost_net
    equal "fork_from_owner_default" N "$(cat /sys/module/vhost/parameters/fork_from_owner_default)"
    rom_spec k <<'TOML'
name = "k"
[cpu]
count = 2
[memory]
size = "32M"
[[net]]
bridge = "br0"
queues = 2
TOML
    up k
    mapfile -t workers < <(vhost_workers "${qemu[k]}")
    equal "kernel threads for k" "2 out" "${#workers[@]} ${workers[0]#* }"
    used=
    for tid in $(vcpus k); do used+=${used:+,}$(cpus_of "$tid"); done
    for worker in "${workers[@]}"; do
        equal "kernel thread ${worker% *} is pinned, beside the vCPUs" "$(cpus_of "$(iothreads k; echo "${qemu[k]}")")" "$(cpus_of "${worker% *}")"
        fact "vhost kernel thread" "on $(cpus_of "${worker% *}"), vCPUs on $used"
    done
    kill_vm k
    end
fi
