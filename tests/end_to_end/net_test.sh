#!/bin/bash
# Taps: one that vmrun makes on a bridge, and one that is handed in. Who owns what is read from /sys/class/net.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
bridge=vmrune2e1 jumbo=vmrune2e2 ours=vmrune2et
make_bridge "$bridge" || skip "no bridge can be made here (ip link add type bridge)"
make_bridge "$jumbo" 1500
! ip -o address show | grep -q ' 198\.51\.100\.' || skip "this machine uses 198.51.100.0/24, which the test wants for itself"
ip address add 198.51.100.1/24 dev "$bridge"

# linux NAME QUEUES NET-LINES WORDS
linux() {
    {
        printf 'accel = "tcg"\n[cpu]\ncount = 2\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n[[net]]\n%s\n' "$2"
        boot "vmrun.report $3 vmrun.then=idle"
    } | spec "$1"
}
port_of() { compgen -G "/sys/class/net/$1/brif/*" | sed 's|.*/||'; }
queues_of() { compgen -G "/sys/class/net/$1/queues/tx-*" | wc -l; }
up() { # NAME: runs it until the guest is ready; $pid
    run_in_background pid "$1"
    says "$1" '^guest: ready' "$pid" 60 || failed "$1: the guest gets ready" "$(cat "$work/$1".{out,err})"
}
down() {
    "$vmrun" stop "$1" 2>/dev/null || failed "$1: stop"
    exits "$1: exit code" "$pid" 30 0
}

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    linux made "bridge = \"$bridge\"
queues = 2" "vmrun.ip=198.51.100.2/24 vmrun.gw=198.51.100.1"
    remember
    up made
    tap=$(port_of "$bridge")
    if [ -n "$tap" ]; then
        is "$version: the tap on the bridge has the queues" "$(queues_of "$tap")" 2
        is "$version: it is multiqueue" "$((0x$(sed s/0x// "/sys/class/net/$tap/tun_flags") & 0x100))" 256
        is "$version: it is not persistent" "$((0x$(sed s/0x// "/sys/class/net/$tap/tun_flags") & 0x800))" 0
        is "$version: its MTU" "$(cat "/sys/class/net/$tap/mtu")" 1500
        check "$version: it is up" test $(($(cat "/sys/class/net/$tap/flags") & 1)) = 1
        [[ $(cat "/sys/class/net/$tap/address") == fe:* ]] && passed "$version: its address is too high for a bridge to take" ||
            failed "$version: its address is too high for a bridge to take" "$(cat "/sys/class/net/$tap/address")"
    else
        failed "$version: a tap is on the bridge"
    fi
    console=$(console_of made)
    has "$version: the guest's card has both queues" "$console" '^guest: eth0 .* tx_queues=2 rx_queues=2'
    has "$version: packed rings without vhost" "$console" '^guest: virtio[0-9]* device=net driver=virtio_net mq=1 packed=1'
    has "$version: the guest pings the host" "$console" '^guest: ping 198.51.100.1 3/3'
    down made
    as_before "$version: the tap is gone, all is as before"
done
use_qemu "${qemus[0]}"

echo "--- large frames"
ip link set "$jumbo" mtu 9000
linux jumbo "bridge = \"$jumbo\"" ""
remember
up jumbo
is "the tap has the bridge's MTU" "$(cat "/sys/class/net/$(port_of "$jumbo")/mtu")" 9000
is "the bridge keeps it" "$(cat "/sys/class/net/$jumbo/mtu")" 9000
has "the guest has it" "$(console_of jumbo)" '^guest: eth0 .* mtu=9000 '
down jumbo
as_before "as before"
linux large "bridge = \"$bridge\"
mtu = 9000" ""
run_code "$vmrun" run "$work/large.toml"
is "an MTU that the bridge does not pass: exit code" "$code" 2
has "it is refused by name" "$err" '^error: net\[0\].mtu: 9000'
as_before "nothing changed"

echo "--- a tap handed in"
for queues in 1 2; do
    if [ "$queues" = 2 ]; then ip tuntap add "$ours" mode tap multi_queue; else ip tuntap add "$ours" mode tap; fi
    ip link set "$ours" master "$bridge" up
    linux handed "tap = \"$ours\"
queues = $queues" "vmrun.ip=198.51.100.2/24 vmrun.gw=198.51.100.1"
    remember
    address=$(cat "/sys/class/net/$ours/address")
    up handed
    is "$queues: the guest's card has the tap's queues" "$(console_of handed | sed -n 's/^guest: eth0 .*tx_queues=\([0-9]*\).*/\1/p')" "$queues"
    has "$queues: the guest pings the host over it" "$(console_of handed)" '^guest: ping 198.51.100.1 3/3'
    is "$queues: its address is its own still" "$(cat "/sys/class/net/$ours/address")" "$address"
    down handed
    check "$queues: the tap is still there" test -e "/sys/class/net/$ours/tun_flags"
    within 2 test "$(cat "/sys/class/net/$ours/carrier" 2>/dev/null || echo 0)" = 0 || true
    as_before "$queues: as before"
    ip link del "$ours"
done

echo "--- a bridge's own address"
# vmrun's tap must not take over the address of a bridge whose uplink has a higher one
ip link add vmrune2e3 type bridge
bridges+=(vmrune2e3)
ip tuntap add "$ours" mode tap
ip link set "$ours" address fc:00:00:00:00:09
ip link set "$ours" master vmrune2e3 up
ip link set vmrune2e3 up
{ rom_accel; printf '[cpu]\nmodel = "qemu64"\npin = "off"\n[memory]\nsize = "64M"\npage = "4K"\n[[net]]\nbridge = "vmrune2e3"\n'; rom_boot; } | spec addressed
remember
"$vmrun" start "$work/addressed.toml" 2>/dev/null || failed "start"
is "with a VM on it the bridge has its uplink's address" "$(cat /sys/class/net/vmrune2e3/address)" fc:00:00:00:00:09
"$vmrun" kill addressed 2>/dev/null
as_before "as before"
ip link del "$ours"

echo "--- what is not there"
linux missing 'bridge = "nosuchbr"' ""
run_code "$vmrun" run "$work/missing.toml"
is "a bridge that does not exist: exit code" "$code" 2
has "it is named" "$err" "no bridge 'nosuchbr'"
ip tuntap add vmrune2ed mode tap
run_code "$vmrun" plan "$work/missing.toml" --set 'net=[{bridge="vmrune2ed"}]'
has "a tap of that name is no bridge" "$err" "'vmrune2ed' is a tap, but no Linux bridge"
has "and how to use it" "$err" 'tap = "vmrune2ed"'
# A bridge so named stands for Open vSwitch's module, which is not here: its ports are told by their master's name
ip link add ovs-system type bridge && ip link set vmrune2ed master ovs-system
run_code "$vmrun" plan "$work/missing.toml" --set 'net=[{bridge="vmrune2ed"}]'
has "a bridge of Open vSwitch is none" "$err" "'vmrune2ed' is a bridge or port of Open vSwitch, but no Linux bridge"
has "and how to use that" "$err" 'ovs-vsctl add-port vmrune2ed vm0`, and set tap = "vm0"'
ip link del ovs-system
ip link del vmrune2ed
finish
