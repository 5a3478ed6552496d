#!/bin/bash
# The host's network cards in a lock, with drivers of the kernel's: what `ethtool` and `ip` change of the card in a VM's bridge or below
# its macvtap is a drift by its name, back again it is none, and the replay is refused meanwhile; another card's change is none at all.
# lab: --all --nodes 1 --kernel 6.12-full --qemu 10.0 --qemu-args '-netdev hubport,id=h1,hubid=0 -device e1000e,netdev=h1,mac=52:54:00:00:00:e1 -netdev hubport,id=h2,hubid=0 -device igb,netdev=h2,mac=52:54:00:00:00:e2 -netdev hubport,id=h3,hubid=0 -device virtio-net-pci,netdev=h3,mac=52:54:00:00:00:e3'
# lab: --all --nodes 1 --kernel 6.1-full --qemu 7.2 --qemu-args '-netdev hubport,id=h1,hubid=0 -device e1000e,netdev=h1,mac=52:54:00:00:00:e1 -netdev hubport,id=h2,hubid=0 -device igb,netdev=h2,mac=52:54:00:00:00:e2 -netdev hubport,id=h3,hubid=0 -device virtio-net-pci,netdev=h3,mac=52:54:00:00:00:e3'
# fault: unchanged no card is changed
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
modprobe -a e1000e igb virtio_net macvtap || die "no drivers for the lab's cards"
card_of() { grep -lix "52:54:00:00:00:$1" /sys/class/net/*/address | cut -d/ -f5 | head -n 1; }
all_there() { [ -n "$(card_of e1)" ] && [ -n "$(card_of e2)" ] && [ -n "$(card_of e3)" ]; }
wait_for 60 all_there
in_bridge=$(card_of e1) below=$(card_of e2) other=$(card_of e3)
[ -n "$in_bridge" ] && [ -n "$below" ] && [ -n "$other" ] || die "three cards: $(ls /sys/class/net)"
for link in "$in_bridge" "$below" "$other"; do ip link set "$link" up; done
begin
ip link add brc type bridge && ip link set brc up && ip link set "$in_bridge" master brc
at_end+=("ip link delete brc 2>/dev/null")
wait_for 30 grep -qx 1000 "/sys/class/net/$in_bridge/speed"
wait_for 30 grep -qx 1000 "/sys/class/net/$below/speed"
rom_spec x <<TOML
name = "x"
[memory]
size = "32M"
page = "4K"
[[net]]
bridge = "brc"
[[net]]
over = "$below"
TOML
vmrun lock x.toml -o x.lock 2>lock.err || die "a lock: $(cat lock.err)"
cards=$(jq -r '.predicate.facts.cards | to_entries[] | .key + " = " + .value' x.lock)
for wanted in 'driver of net\[0\] = e1000e' 'driver of net\[1\] = igb' 'speed of net\[0\] = 1000 Mb/s, full' 'rings of net\[0\] = rx [0-9]+, tx [0-9]+' \
    'coalescing of net\[1\] = .*rx-usecs' 'queues of net\[1\] = .*combined' 'firmware of net\[1\] = .' 'offload tx-tcp-segmentation of net\[0\] = on' \
    'flow control of net\[0\] = autoneg' 'MTU of net\[1\] = 1500'; do
    check "on record: $wanted" grep -qE "^$wanted" <<<"$cards"
done
check "nothing of the other card" test "$(grep -c virtio <<<"$cards")" = 0
check "no address" test "$(grep -ciE '52:54:00|5254' <<<"$cards")" = 0

# drifts: what differs from the lock now, but for what moves by itself (free pages of a pool)
drifts() { vmrun diff --json x.lock x.toml 2>/dev/null | jq -r '.drifts[] | select(.group == "cards") | "\(.name): \(.was) -> \(.is) [\(.grade)]"'; }
one_differs() { [ -n "$(drifts)" ]; }
none_differs() { [ -z "$(drifts)" ]; }
# planted WHAT WANTED CHANGE BACK: shell words on a card $at
planted() {
    fault unchanged || eval "$3" || { not_ok "$1: it can be changed"; return; }
    wait_for 20 one_differs # a card that takes its link down for it is up again in a moment
    check "$1" grep -qxE "$2" <<<"$(drifts)"
    vmrun replay x.lock >replay.out 2>&1
    equal "$1: the replay's exit code" 2 $?
    eval "$4"
    ip link set "$at" up
    wait_for 30 none_differs
    equal "$1: back again" "" "$(drifts)"
}
equal "at rest nothing differs" "" "$(drifts)"
up x
equal "nor while the VM runs on them" "" "$(vmrun diff --json x.lock x 2>/dev/null | jq -r '.drifts[] | select(.group == "cards") | .name')"
kill_vm x
at=$in_bridge
rx=$(ethtool -g "$at" | awk '/^RX:/ { now = $2 } END { print now }')
planted "e1000e's rings" "rings of net\[0\]: rx $rx, .* -> rx 512, .* \[changes\]" 'ethtool -G $at rx 512' "ethtool -G \$at rx $rx"
planted "an offload" 'offload tx-tcp-segmentation of net\[0\]: on ->  \[changes\]' 'ethtool -K $at tx-tcp-segmentation off' 'ethtool -K $at tx-tcp-segmentation on'
planted "e1000e's MTU" 'MTU of net\[0\]: 1500 -> 1400 \[changes\]' 'ip link set $at mtu 1400' 'ip link set $at mtu 1500'
planted "steering" 'receive steering of net\[0\]:  -> rx-0 1 \[changes\]' 'echo 1 >/sys/class/net/$at/queues/rx-0/rps_cpus' 'echo 0 >/sys/class/net/$at/queues/rx-0/rps_cpus'
planted "flow control" 'flow control of net\[0\]: .* -> .*rx off, tx off \[changes\]' 'ethtool -A $at autoneg off rx off tx off' 'ethtool -A $at autoneg on rx on tx on'
at=$below
usecs=$(ethtool -c "$at" | awk '/^rx-usecs:/ { print $2 }')
planted "igb's coalescing" "coalescing of net\[1\]: .* -> .*rx-usecs 77.* \[changes\]" 'ethtool -C $at rx-usecs 77' "ethtool -C \$at rx-usecs $usecs"
combined=$(ethtool -l "$at" | awk '/^Combined:/ { now = $2 } END { print now }')
planted "igb's queues" "queues of net\[1\]: .*combined $combined.* -> .*combined 1.* \[changes\]" 'ethtool -L $at combined 1' "ethtool -L \$at combined $combined"
at=$other
ethtool -K "$at" gro off && ip link set "$at" mtu 1400
equal "the card that no guest of this VM uses" "" "$(drifts)"
ip link set "$at" mtu 1500
ip link delete brc
end
