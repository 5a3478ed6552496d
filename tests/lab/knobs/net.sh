#!/bin/bash
# Every knob of [[net]] and [vsock] on real KVM and vhost: KNOB<TAB>name<TAB>asked<TAB>seen, where `seen` is the guest's, the
# kernel's or QMP's word. Status 1 when one is not as asked.
# files: dirname "$(dirname "$(scripts/passt)")"
# files: scripts/guest --vduse build/lab/vduse_net && echo build/lab/vduse_net
# lab: --timeout 900 --kernel 6.12 --qemu 10.0
# lab: --all --timeout 900 --kernel all --qemu all
# fault: rings the spec asks for shorter rings
# fault: limit the spec asks for another limit
# shellcheck disable=SC2016 # what is in single quotes is for the guest
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

# base NAME: the keys that all of these guests share
base() { printf 'name = "%s"\n[cpu]\ncount = 2\n[memory]\nsize = "128M"\n' "$1"; }
feature() { said "$1" "features .*$2=\([01]\).*"; }
# doing SCRIPT: the guest's word for it
doing() { echo "vmrun.do=$(base64 -w0 <<<"$1")"; }
features='for d in /sys/bus/virtio/devices/*; do
[ $(cat $d/device) = 0x0001 ] || continue
f=$(cat $d/features)
say features packed=$(bit $f 34) rss=$(bit $f 60) hash=$(bit $f 57)
done'
rings() { # NAME: "rx tx" by QMP
    local path queue
    path=$(qmp "/run/vmrun/$1/qmp.sock" x-query-virtio | jq -r '.return[] | select(.name == "virtio-net") | .path')
    for queue in 0 1; do
        qmp "/run/vmrun/$1/qmp.sock" "{\"execute\":\"x-query-virtio-queue-status\",\"arguments\":{\"path\":\"$path\",\"queue\":$queue}}" |
            jq -r '.return."vring-num"'
    done | paste -sd' '
}
# sndbuf_of PID DEVICE: TUNGETSNDBUF of its first fd on one of that name, by an fd of our own on the same file
sndbuf_of() {
    perl -e 'my ($pid, $device) = @ARGV; my $p = syscall(434, $pid + 0, 0);
        for my $link (glob("/proc/$pid/fd/*")) {
            next unless (readlink($link) // "") =~ /^$device/; my ($n) = $link =~ /(\d+)$/;
            my $fd = syscall(438, $p, $n + 0, 0); open(my $tap, "+<&=", $fd) or next; my $size = pack("i", 0);
            ioctl($tap, 0x800454d3, $size) or die "TUNGETSNDBUF: $!"; print unpack("i", $size), "\n"; last }' "$1" "$2"
}
workers() { vhost_workers "$1" | wc -l; }
# run_ms PID: how long its vhost workers have run
run_ms() { vhost_workers "$1" | while read -r tid _; do cut -d' ' -f1 "/proc/$tid/schedstat"; done | awk '{ sum += $1 } END { printf "%d", sum / 1000000 }'; }
# ran_for_packets NAME: the same while the guest at 10.9.0.2 gets 20 packets, a fifth of a second apart
ran_for_packets() {
    local before packet
    before=$(run_ms "${qemu[$1]}")
    for ((packet = 0; packet < 20; packet++)); do
        echo hello >/dev/udp/10.9.0.2/9
        sleep 0.2
    done
    echo $(($(run_ms "${qemu[$1]}") - before))
}

begin
modprobe vhost_vsock || die "no module vhost_vsock"
machine=$(machine_state)
rx=1024 limit=8
! fault rings || rx=512
! fault limit || limit=9

# --- a tap with kernel vhost, and vsock ---
{ base tap; cat <<TOML; } | spec tap vmrun.ip=10.9.0.2 vmrun.gw=10.9.0.1 "$(doing "$features
vsock echo 1234 & sleep 2")" # its word before the shell's prompt
[[net]]
bridge = "br0"
vhost = true
queues = 2
mac = "52:54:00:0A:0b:0c"
mtu = 1400
rx_queue_size = $rx
tx_queue_size = 256
sndbuf = "1M"
receive_limit = "${limit}Mbit"
send_limit = "16Mbit"
[vsock]
cid = 77
TOML
up tap
tap=$(echo /sys/class/net/br0/brif/*) tap=${tap##*/}
knob net.mode tap "$([ -e "/sys/class/net/$tap/tun_flags" ] && echo tap)"
knob net.bridge br0 "$(basename "$(readlink "/sys/class/net/$tap/master")")"
knob net.vhost "3 workers" "$(workers "${qemu[tap]}") workers" # two queue pairs, and vsock's
knob net.queues 2 "$(said tap 'eth0 .*tx_queues=\([0-9]*\).*')"
knob net.mac 52:54:00:0a:0b:0c "$(said tap 'eth0 .*mac=\([^ ]*\).*')"
knob net.mtu "1400 and 1400" "$(said tap 'eth0 .*mtu=\([0-9]*\).*') and $(cat "/sys/class/net/$tap/mtu")"
knob net.packed "off with vhost" "$([ "$(feature tap packed)" = 0 ] && echo off with vhost)"
knob net.rx_queue_size 1024 "$(rings tap | cut -d' ' -f1)"
knob net.tx_queue_size 256 "$(rings tap | cut -d' ' -f2)"
knob net.sndbuf 1048576 "$(sndbuf_of "${qemu[tap]}" /dev/net/tun)"
knob net.receive_limit 8Mbit "$(tc qdisc show dev "$tap" | sed -n 's/.*tbf .* rate \([^ ]*\) .*/\1/p')"
knob net.send_limit 16Mbit "$(tc filter show dev "$tap" ingress | sed -n 's/.*police .* rate \([^ ]*\) .*/\1/p')"
ran_plain=$(ran_for_packets tap)
knob net.ping 3/3 "$(said tap 'ping 10.9.0.1 \(.*\)')"
knob vsock.cid 77 "$(said tap 'vsock cid=\([0-9]*\) .*')"
knob vsock.echo "over a socket" "$(echo "over a socket" | timeout 20 socat -t 5 - VSOCK-CONNECT:77:1234)"
down tap

# --- polling: the worker spins after each packet, as its run time shows ---
{ base poll; printf '[[net]]\nbridge = "br0"\nqueues = 1\npoll_us = 100000\n'; } | spec poll vmrun.ip=10.9.0.2 vmrun.gw=10.9.0.1
effect=spins # but where vmrun says that this QEMU loses it
vmrun plan poll.toml | grep -q 'poll_us: has no effect' && effect='no effect, as told'
up poll
ran_polling=$(ran_for_packets poll)
down poll
fact "vhost worker for 20 packets, ms, with poll_us 0 and 100000" "$ran_plain $ran_polling"
knob net.poll_us "100000: $effect" "100000: $([ "$ran_polling" -ge $((ran_plain + 300)) ] && echo spins || echo no effect, as told)"

# --- what only QEMU serves ---
{ base own; printf '[[net]]\nbridge = "br0"\nvhost = false\nqueues = 2\npacked = true\nrss = true\nhash = true\n[vsock]\n'; } |
    spec own vmrun.ip=10.9.0.2 vmrun.gw=10.9.0.1 "$(doing "$features
vsock echo 1234 & sleep 2")" # its word before the shell's prompt
up own
knob net.packed on "$([ "$(feature own packed)" = 1 ] && echo on)"
knob net.rss on "$([ "$(feature own rss)" = 1 ] && echo on)"
knob net.hash on "$([ "$(feature own hash)" = 1 ] && echo on)"
knob net.vhost "false: 1 worker" "false: $(workers "${qemu[own]}") worker" # vsock's
cid=$(vmrun plan own.toml | sed -n 's/.*guest-cid=\([0-9]*\).*/\1/p' | head -n 1)
knob vsock.cid "auto: $cid" "auto: $(said own 'vsock cid=\([0-9]*\) .*')"
{ base second; printf '[vsock]\ncid = %s\n' "$cid"; } | rom_spec second
refused "a second VM with that CID is refused" 2 "vsock CID $cid belongs to VM own" vmrun run second.toml
down own

# --- macvtap ---
ip link add lower0 type veth peer name far0
ip link set lower0 mtu 9000 up
ip link set far0 mtu 9000 up
ip address add 10.9.1.1/24 dev far0
at_end+=("ip link delete lower0")
sleep 1
machine=$(machine_state)
mode_made() { ip -d -o link show type macvtap | sed -n 's/.*macvtap mode \([a-z]*\) .*/\1/p'; }
for mode in bridge passthru; do
    { base macvtap; printf '[[net]]\nover = "lower0"\nmacvtap = "%s"\nqueues = 2\nmac = "52:54:00:0a:0b:0d"\nrx_queue_size = 512\n' $mode; } |
        spec macvtap vmrun.ip=10.9.1.2 vmrun.gw=10.9.1.1
    up macvtap
    knob net.macvtap $mode "$(mode_made)"
    knob net.over "lower0, 3/3" "$(ip -o link show type macvtap | sed 's/.*@\([^:]*\):.*/\1/'), $(said macvtap 'ping 10.9.1.1 \(.*\)')"
    if [ $mode = bridge ]; then
        knob net.queues "macvtap: 2, 2 workers" "macvtap: $(said macvtap 'eth0 .*tx_queues=\([0-9]*\).*'), $(workers "${qemu[macvtap]}") workers"
        knob net.mtu "macvtap auto: 9000" "macvtap auto: $(said macvtap 'eth0 .*mtu=\([0-9]*\).*')"
        knob net.rx_queue_size "macvtap: 512" "macvtap: $(rings macvtap | cut -d' ' -f1)"
    fi
    down macvtap
    as_before "macvtap, $mode: as before"
done
for mode in vepa private; do
    { base macvtap; printf '[[net]]\nover = "lower0"\nmacvtap = "%s"\n' $mode; } | rom_spec macvtap
    up macvtap
    knob net.macvtap $mode "$(mode_made)"
    kill_vm macvtap
done

# --- vDPA ---
if [ -x vduse_net ] && modprobe vduse 2>/dev/null && modprobe vhost_vdpa && [ -e /dev/vduse/control ]; then
    ./vduse_net card >vduse.log 2>&1 &
    vduse=$!
    at_end+=("kill $vduse")
    wait_for 10 grep -q ready vduse.log || die "no VDUSE device: $(cat vduse.log)"
    check "vdpa dev add" vdpa dev add name card mgmtdev vduse
    wait_for 10 test -e /dev/vhost-vdpa-0 || die "no /dev/vhost-vdpa-0: $(vdpa dev show)"
    machine=$(machine_state)
    { base vdpa; printf '[[net]]\ndevice = "/dev/vhost-vdpa-0"\nqueues = 1\ntx_queue_size = 512\nmac = "52:54:00:0a:0b:0e"\n'; } |
        spec vdpa vmrun.ip=10.9.2.2 "$(doing 'say carrier $(cat /sys/class/net/eth0/carrier)')"
    up vdpa
    status=$(sed -n 's/status //p' vduse.log | tail -n 1) # 4: the driver is ready
    knob net.mode "vdpa: driver ready, link up" \
        "vdpa: $([ $((status & 4)) = 4 ] && echo driver ready), link $([ "$(said vdpa 'carrier \(.\).*')" = 1 ] && echo up)"
    knob net.device /dev/vhost-vdpa-0 "$(readlink "/proc/${qemu[vdpa]}/fd/"* | grep vhost-vdpa | head -n 1)"
    knob net.tx_queue_size "vdpa: 512" "vdpa: $(rings vdpa | cut -d' ' -f2)"
    knob net.device "its memory shared" "its memory $(grep -q 'rw-s .*memfd:memory-backend-memfd' "/proc/${qemu[vdpa]}/maps" && echo shared)"
    down vdpa
    vdpa dev del card
else
    fact vDPA "this kernel has no VDUSE: not shown"
fi

# --- passt, vhost-user ---
if [ -d passt ]; then
    prefix=$(cat passt/prefix)
    mkdir -p "$prefix"
    cp -r passt/. "$prefix"
    chmod -R a+rX "$(dirname "$prefix")"
    printf 'passt = "%s/bin/passt"\n' "$prefix" >host.toml
    export VMRUN_HOST_TOML=$PWD/host.toml
    ip route add default via 10.9.0.254 dev br0
    at_end+=("ip route delete default")
    machine=$(machine_state)
    hello='nc -ll -p 22 -e echo "hello from the guest" &'
    hears() { wait_for 20 sh -c 'socat -T 5 - TCP:127.0.0.1:2222 </dev/null 2>/dev/null | grep -q "hello from the guest"' && echo hello; }
    { base passt; printf '[[net]]\nmode = "passt"\nforward = ["tcp:127.0.0.1:2222:22"]\n'; } | spec passt vmrun.ip=10.9.0.1 vmrun.gw=10.9.0.254 "$(doing "$hello")"
    up passt
    knob net.mode "passt: hello" "passt: $(hears)"
    knob net.forward 127.0.0.1:2222 "$(ss -Hltn 'sport = :2222' | awk '{ print $4 }')"
    down passt
    { base user; printf '[[net]]\nmode = "user"\nforward = ["tcp:127.0.0.1:2222:22"]\n'; } | spec user vmrun.ip=10.0.2.15 vmrun.gw=10.0.2.2 "$(doing "$hello")"
    up user
    knob net.mode "user: hello" "user: $(hears)"
    down user
fi
if [ -d passt ] && [ "$LAB_QEMU" = 7.2 ]; then
    fact vhost-user "QEMU 7.2 ends with SIGSEGV on passt's vhost-user, with the command line of passt's manual, too: not shown"
elif [ -d passt ]; then
    mkdir -m 777 /tmp/peer
    (cd / && exec "$prefix/bin/passt" --vhost-user --foreground --socket /tmp/peer/sock --tcp-ports 127.0.0.1/2222:22 >/tmp/peer/log 2>&1) &
    peer=$!
    wait_for 10 test -S /tmp/peer/sock || die "passt does not listen: $(cat /tmp/peer/log)"
    chmod 777 /tmp/peer/sock
    { base peer; printf '[[net]]\nsocket = "/tmp/peer/sock"\nrx_queue_size = 512\ntx_queue_size = 1024\n'; } |
        spec peer vmrun.ip=10.9.0.1 vmrun.gw=10.9.0.254 "$(doing "$hello")"
    up peer
    knob net.mode "vhost-user: hello" "vhost-user: $(hears)"
    knob net.tx_queue_size "vhost-user: 1024" "vhost-user: $(rings peer | cut -d' ' -f2)"
    down peer
    kill $peer 2>/dev/null
    wait $peer 2>/dev/null
    rm -rf /tmp/peer
fi
end
