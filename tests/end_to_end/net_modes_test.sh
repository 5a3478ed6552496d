#!/bin/bash
# How a card's packets leave the host: passt, QEMU's own, macvtap, another process by vhost-user; and a tap's knobs. What was
# asked for is looked for in the guest, in the kernel and over QMP; data passes each of them.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
bridge=vmrune2e5 lower=vmrune2e6 far=vmrune2e7
make_bridge "$bridge" || skip "no bridge can be made here (ip link add type bridge)"
! ip -o address show | grep -q ' 198\.51\.100\.' || skip "this machine uses 198.51.100.0/24, which the test wants for itself"
ip address add 198.51.100.1/25 dev "$bridge"
mkdir -m 777 "$work/peer" # passt, started by root, makes its socket there as nobody
passt=$("$root/scripts/passt") || missing passt
free_port() { # PORT: counts up from there to one that nobody listens on
    local port=$1
    while ss -Hltn "sport = :$port" | grep -q .; do port=$((port + 1)); done
    echo "$port"
}
port=$(free_port 42222)

# The guest answers callers of its port 22, and reads from the host's port $2 what is said there.
# guest_script HOST-ADDRESS HOST-PORT
guest_script() {
    cat <<SCRIPT
nc -ll -p 22 -e echo "hello from the guest" &
for d in /sys/bus/virtio/devices/*; do
[ \$(cat \$d/device) = 0x0001 ] || continue
f=\$(cat \$d/features)
say features rss=\$(bit \$f 60) hash=\$(bit \$f 57) packed=\$(bit \$f 34) mq=\$(bit \$f 22)
done
[ -z "$1" ] || say heard "\$(nc -w 5 $1 $2 </dev/null)"
SCRIPT
}
# linux NAME NET-LINES IP GATEWAY [HOST-ADDRESS HOST-PORT]
linux() {
    {
        printf 'accel = "tcg"\n[cpu]\ncount = 2\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n[[net]]\n%s\n' "$2"
        boot "vmrun.report vmrun.then=idle${3:+ vmrun.ip=$3}${4:+ vmrun.gw=$4} vmrun.do=$(guest_script "${5:-}" "${6:-}" | base64 -w0)"
    } | spec "$1"
}
up() { # NAME: runs it until the guest is ready; $pid
    run_in_background pid "$1"
    says "$1" '^guest: ready' "$pid" 90 || failed "$1: the guest gets ready" "$(cat "$work/$1".{out,err})"
}
down() {
    "$vmrun" stop "$1" 2>/dev/null || failed "$1: stop"
    exits "$1: exit code" "$pid" 30 0
}
# rings NAME: "rx tx", the length of the first two rings
rings() {
    local queue path
    path=$("$vmrun" qmp "$1" x-query-virtio | jq -r '(.return? // .)[] | select(.name == "virtio-net") | .path')
    for queue in 0 1; do
        "$vmrun" qmp "$1" "{\"execute\": \"x-query-virtio-queue-status\", \"arguments\": {\"path\": \"$path\", \"queue\": $queue}}" |
            jq -r '(.return? // .)."vring-num"'
    done | paste -sd' '
}
# sndbuf_of PID: TUNGETSNDBUF of its first tap fd, by an fd of our own on the same file
sndbuf_of() {
    perl -e 'my $pid = shift; my $p = syscall(434, $pid + 0, 0);
        for my $link (glob("/proc/$pid/fd/*")) {
            next unless (readlink($link) // "") eq "/dev/net/tun"; my ($n) = $link =~ /(\d+)$/;
            my $fd = syscall(438, $p, $n + 0, 0); open(my $tap, "+<&=", $fd) or next; my $size = pack("i", 0);
            ioctl($tap, 0x800454d3, $size) or die "TUNGETSNDBUF: $!"; print unpack("i", $size), "\n"; last }' "$1"
}
# hears PORT: what the guest says to a caller of the host's port
# shellcheck disable=SC2317
hears() { socat -T 5 - "TCP:127.0.0.1:$1" </dev/null 2>/dev/null | grep -q 'hello from the guest'; }
# passt as the other process of a vhost-user card, which listens or connects; $peer
passt_listens() {
    (cd / && exec "$passt" --vhost-user --foreground --socket "$work/peer/sock" --tcp-ports "127.0.0.1/$port:22" >"$work/peer.log" 2>&1) &
    peer=$!
}
passt_connects() {
    perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un(shift)) or die "$!"; $^F = 100;
        require Fcntl; fcntl($s, Fcntl::F_SETFD(), 0); exec @ARGV[0..$#ARGV], "--fd", fileno($s)' "$VMRUN_RUN_DIR/peer/net0/vhost-user.sock" \
        "$passt" --vhost-user --foreground --tcp-ports "127.0.0.1/$port:22" >"$work/peer.log" 2>&1 &
    peer=$!
}
# speak ADDRESS PORT WORDS: to every caller, until $speaker is ended
speak() { socat "TCP-LISTEN:$2,bind=$1,fork,reuseaddr" "SYSTEM:echo $3" & speaker=$!; }
hush() { kill "$speaker" 2>/dev/null || true; wait "$speaker" 2>/dev/null || true; }
helper_of() { # NAME PROGRAM: pid of the VM's helper, by the record
    "$vmrun" show --json "$1" | jq -r '.. | objects | select(.role? // "" | startswith("helper")) | .tid' | head -n 1
}

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version: a tap's knobs"
    use_qemu "$qemu" "passt = \"$passt\""
    linux knobs "bridge = \"$bridge\"
vhost = false
queues = 2
packed = true
rss = true
hash = true
mtu = 1400
rx_queue_size = 1024
sndbuf = \"1M\"
receive_limit = \"8Mbit\"" 198.51.100.2/25 198.51.100.1
    remember
    up knobs
    console=$(console_of knobs)
    has "$version: the guest negotiated steering, hashes, packed rings, several queues" "$console" '^guest: features rss=1 hash=1 packed=1 mq=1'
    has "$version: MTU and queues in the guest" "$console" '^guest: eth0 .* mtu=1400 tx_queues=2 rx_queues=2'
    is "$version: the rings" "$(rings knobs)" "1024 256"
    is "$version: sndbuf of the tap" "$(sndbuf_of "$(qemu_of knobs)")" 1048576
    tap=$(compgen -G "/sys/class/net/$bridge/brif/*" | sed 's|.*/||')
    has "$version: the limit on the tap" "$(tc qdisc show dev "$tap")" 'tbf .* rate 8Mbit burst 128Kb'
    down knobs
    as_before "$version: the tap and its limit are gone"

    echo "--- QEMU $version: passt"
    gateway=$(ip -4 route show default | awk '{ print $3; exit }') own=$(ip -4 route show default | awk '{ print $5; exit }')
    own=$(ip -o -4 address show dev "${own:-lo}" | awk '{ print $4; exit }')
    if [ -n "$gateway" ]; then
        speaking=$(free_port 43333)
        linux passt "mode = \"passt\"
host_loopback = true
forward = [\"tcp:127.0.0.1:$port:22\"]" "$own" "" "$gateway" "$speaking"
        sed -i "s/vmrun.ip=/vmrun.gw=$gateway &/" "$work/passt.toml"
        remember
        speak 127.0.0.1 "$speaking" "'hello from the host'"
        up passt
        has "$version: the guest reaches the host through passt" "$(console_of passt)" '^guest: heard hello from the host'
        check "$version: the host reaches the guest by the forwarded port" within 10 hears "$port"
        helper=$(helper_of passt)
        is "$version: passt runs as QEMU's user" "$(stat -c %u "/proc/$helper")" "$(stat -c %u "/proc/$(qemu_of passt)")"
        is "$version: without rights" "$(awk '/^CapEff/ { print $2 }' "/proc/$helper/status")" 0000000000000000
        hush
        down passt
        check "$version: passt has ended" within 5 ended "$helper"
        sed -i '/^host_loopback/d' "$work/passt.toml"
        speak 127.0.0.1 "$speaking" "'hello from the host'"
        up passt
        hasnt "$version: unless asked for, the guest does not reach the host's 127.0.0.1 through passt" "$(console_of passt)" 'hello from the host'
        hush
        down passt
        as_before "$version: as before"
    fi

    echo "--- QEMU $version: QEMU's own"
    speaking=$(free_port 43333)
    linux user "mode = \"user\"
host_loopback = true
forward = [\"tcp:127.0.0.1:$port:22\"]
rx_queue_size = 512" 10.0.2.15/24 10.0.2.2 10.0.2.2 "$speaking"
    remember
    speak 127.0.0.1 "$speaking" "'hello from the host'"
    up user
    has "$version: the guest reaches the host" "$(console_of user)" '^guest: heard hello from the host'
    check "$version: the host reaches the guest by the forwarded port" within 10 hears "$port"
    is "$version: the rings" "$(rings user)" "512 256"
    hush
    down user
    sed -i '/^host_loopback/d' "$work/user.toml"
    speak 127.0.0.1 "$speaking" "'hello from the host'"
    up user
    hasnt "$version: unless asked for, the guest does not reach the host's 127.0.0.1" "$(console_of user)" 'hello from the host'
    check "$version: the forwarded port leads in all the same" within 10 hears "$port"
    hush
    down user
    as_before "$version: as before"

    echo "--- QEMU $version: macvtap"
    if ip link add "$lower" type veth peer name "$far" 2>/dev/null; then
        bridges+=("$lower") # removed at the end, with its peer
        ip link set "$lower" mtu 9000 up
        ip link set "$far" mtu 9000 up
        ip address add 198.51.100.129/25 dev "$far"
        for mode in bridge passthru; do
            linux macvtap "over = \"$lower\"
macvtap = \"$mode\"
vhost = false
mac = \"52:54:00:aa:bb:0c\"" 198.51.100.130/25 198.51.100.129
            within 3 test "$(cat "/sys/class/net/$lower/operstate")" = up || true
            sleep 1 # the kernel's own packets of the new pair
            remember
            up macvtap
            made=$(ip -d -o link show type macvtap)
            has "$version: a macvtap of mode $mode on it" "$made" "@$lower: .* macvtap mode $mode"
            has "$version: with the guest's address" "$made" 52:54:00:aa:bb:0c
            has "$version: $mode: the guest's card has its MTU, address and two queues" "$(console_of macvtap)" \
                '^guest: eth0 .* mac=52:54:00:aa:bb:0c mtu=9000 tx_queues=2'
            has "$version: $mode: packets pass" "$(console_of macvtap)" '^guest: ping 198.51.100.129 3/3'
            down macvtap
            as_before "$version: $mode: it is gone, and the interface below as before"
        done
        run_in_background pid macvtap
        says macvtap '^guest: up' "$pid" 60 || failed "the guest starts" "$(cat "$work/macvtap.err")"
        kill -KILL "$pid"
        wait "$pid" 2>/dev/null || true
        "$vmrun" recover 2>/dev/null
        as_before "$version: after kill -9 of vmrun and recover it is gone, too"
        ip link del "$lower"
    else
        echo "note: no veth here: macvtap is not tested"
    fi

    echo "--- QEMU $version: vhost-user"
    if [ "$version" = 7.2 ]; then
        # with the very command line of passt's manual, too, when the guest's driver sets its rings up
        echo "note: QEMU 7.2 ends with SIGSEGV on passt's vhost-user: not tested"
    elif [ -n "$gateway" ]; then
        for kind in "socket = \"$work/peer/sock\"" "server = true"; do
            linux peer "$kind
mode = \"vhost-user\"
rx_queue_size = 512
tx_queue_size = 1024" "$own" "$gateway"
            remember
            if [[ $kind == socket* ]]; then
                passt_listens
                within 5 test -S "$work/peer/sock" || failed "$version: passt listens" "$(cat "$work/peer.log")"
                run_code "$vmrun" run "$work/peer.toml"
                has "$version: a socket that QEMU's user may not use is refused" "$err" '^error: net\[0\].socket: .* alone, and QEMU connects'
                chmod 777 "$work/peer/sock"
                run_in_background pid peer
            else
                run_in_background pid peer
                within 10 test -S "$VMRUN_RUN_DIR/peer/net0/vhost-user.sock" || failed "$version: vmrun listens" "$(cat "$work/peer.err")"
                passt_connects
            fi
            says peer '^guest: ready' "$pid" 90 || failed "$version: $kind: the guest gets ready" "$(cat "$work"/peer.{out,err,log})"
            check "$version: $kind: data passes" within 15 hears "$port"
            is "$version: $kind: the rings" "$(rings peer)" "512 1024"
            kill -9 "$peer" && { wait "$peer" 2>/dev/null || true; }
            if [[ $kind == socket* ]]; then
                rm -f "$work/peer/sock" # what it left behind
                passt_listens
                within 5 chmod 777 "$work/peer/sock" 2>/dev/null || failed "$version: passt listens again" "$(cat "$work/peer.log")"
            else
                passt_connects
            fi
            check "$version: $kind: a peer that is killed and started again has the guest back" within 20 hears "$port"
            has "$version: the guest's memory is shared" "$(cat "/proc/$(qemu_of peer)/maps")" 'rw-s .*memfd:memory-backend-memfd'
            down peer
            kill "$peer" 2>/dev/null || true
            wait "$peer" 2>/dev/null || true
            rm -f "$work"/peer/*
            as_before "$version: as before"
        done
    fi
done

echo "--- a limit holds"
linux slow "bridge = \"$bridge\"
vhost = false
receive_limit = \"8Mbit\"" 198.51.100.2/25 198.51.100.1
sed -i "s/vmrun.do=[^ \"]*/vmrun.do=$(echo 'nc -l -p 22 >/dev/null &' | base64 -w0)/" "$work/slow.toml"
up slow
for _ in {1..30}; do # "ready" may be said before nc listens
    begun=${EPOCHREALTIME/[.,]/}
    # what waits in a socket counts as sent, and the kernel lets that grow to megabytes where the guest answers late: not here
    if head -c 3000000 /dev/zero | socat -u - TCP:198.51.100.2:22,sndbuf=65536 2>/dev/null; then break; fi
    begun=
    sleep 0.5
done
check "the guest takes what is sent" test -n "$begun"
took=$(((${EPOCHREALTIME/[.,]/} - ${begun:-0}) / 1000))
check "3 MB to a guest limited to 8Mbit take 2 s or more ($took ms)" test "$took" -ge 2000
down slow

echo "--- what is not there"
use_qemu "${qemus[0]}" 'passt = "/nowhere/passt"'
linux missing 'mode = "passt"'
run_code "$vmrun" run "$work/missing.toml"
is "no passt: exit code" "$code" 2
has "no passt: said how to get it" "$err" 'apt install passt'
linux missing "over = \"nosuchif\""
run_code "$vmrun" run "$work/missing.toml"
has "an interface that is not there" "$err" "^error: net\[0\].over: this host has no interface 'nosuchif'"
linux missing 'socket = "/nowhere/peer.sock"'
run_code "$vmrun" run "$work/missing.toml"
has "a peer that does not listen" "$err" "^error: net\[0\].socket: there is no socket"
linux missing 'device = "/dev/vhost-vdpa-99"'
run_code "$vmrun" run "$work/missing.toml"
has "a vDPA device that is not there" "$err" "^error: net\[0\].device: there is no file '/dev/vhost-vdpa-99'"
linux missing 'mode = "user"
forward = ["tcp:22:22"]'
run_code "$vmrun" run "$work/missing.toml"
has "a port that needs rights" "$err" "^error: net\[0\].forward\[0\]: port 22 of the host needs rights"
[ -e /dev/vhost-vsock ] || {
    { printf '[memory]\nsize = "64M"\n[vsock]\n'; rom_boot; } | spec missing
    run_code "$vmrun" run "$work/missing.toml"
    has "no vsock in the kernel" "$err" '^error: vsock.*: /dev/vhost-vsock cannot be opened'
}
finish
