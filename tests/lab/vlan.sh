#!/bin/bash
# net.vlan on a real bridge that filters: its port is in that VLAN alone, untagged to the guest, which reaches the host's interface in
# that VLAN and no other network; and the bridge is as before afterwards.
# lab: --all --nodes 1 --kernel 6.12 --qemu 10.0
# lab: --all --nodes 1 --kernel all --qemu all
# fault: other the port is put into another VLAN by hand
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
modprobe 8021q || die "no module 8021q"
ip link add brv address 52:54:00:00:09:02 type bridge vlan_filtering 1
at_end+=("ip link delete brv 2>/dev/null")
for id in 100 200; do
    bridge vlan add dev brv vid $id self
    ip link add link brv name brv.$id type vlan id $id
    ip address add "10.9.$id.1/24" dev brv.$id
done
ip address add 10.9.1.1/24 dev brv # the bridge's own network, VLAN 1
ip link set brv up && ip link set brv.100 up && ip link set brv.200 up
# The rest of what a bridge says is of its ports, and stays (its tso_max_size, once a tap was one), or of its timers.
state() { (bridge vlan show; ip -o -d link show type bridge | grep -oE '^[0-9]+: [^:]*|mtu [0-9]+|link/ether [^ ]*|(stp_state|vlan|mcast_snooping)[a-z_]* [^ ]*') | paste -sd" " | tr -s " "; }
before=$(state)
machine=$(machine_state)
keys() { printf 'name = "%s"\n[cpu]\ncount = 1\n[memory]\nsize = "128M"\npage = "4K"\n[[net]]\nbridge = "%s"\n%s\n' "$1" "$2" "$3"; }
ask='vmrun.do='$(base64 -w0 <<'GUEST'
ip link set eth0 up
for net in 100 200 1; do
    ip address add 10.9.$net.2/24 dev eth0
    say "network $net: $(ping -c 2 -i 0.3 -W 1 10.9.$net.1 | sed -n 's/.* \([0-9]*\) packets received.*/\1/p') of 2"
    ip address flush dev eth0
done
GUEST
)
spec a "$ask" vmrun.then=idle <<<"$(keys a brv 'vlan = 100')"
run a
check "the guest runs" wait_for 400 grep -q '^guest: up' a.log || cat a.err
tap=$(basename /sys/class/net/brv/brif/*)
! fault other || { bridge vlan add dev "$tap" vid 200 pvid untagged; bridge vlan delete dev "$tap" vid 100; }
equal "the port is in VLAN 100, untagged, and in no other" "100 PVID Egress Untagged" \
    "$(bridge vlan show dev "$tap" | sed '1d; s/^[^ \t]*[ \t]*//' | paste -sd';')"
if check "the guest is ready" boot_wait a.log "${keeper[a]}" 400; then
    equal "it reaches VLAN 100" "2 of 2" "$(said a 'network 100: \(.*\)')"
    equal "not VLAN 200" "0 of 2" "$(said a 'network 200: \(.*\)')"
    equal "nor the bridge's own network" "0 of 2" "$(said a 'network 1: \(.*\)')"
fi
fact "bridge vlan" "$(bridge vlan show dev "$tap" | sed 1d | tr -s ' \t' ' ')"
kill_vm a
equal "the bridge is as before" "$before" "$(state)"
rom_spec b <<<"$(keys b br0 'vlan = 100')"
refused "a bridge that does not filter is refused, with what makes it" 2 'vlan: .*vlan_filtering' vmrun run b.toml
end
