#!/bin/bash
# The kill -9 campaign: vmrun, QEMU or both are killed at a random instant of a VM's life, with pages on both nodes, a tap on a bridge
# and a disk; then `vmrun recover`, and the machine is as before, every time. (How far each had come is told at the end.)
# lab: --kernel 6.12 --qemu 11.1 --timeout 900
# lab: --all --kernel all --qemu all --timeout 900
# files: echo tests/stage.sh
# fault: leaked-tap somebody keeps a tap of the VM's
# fault: leaked-page the pool of node 1 is left a page larger
# fault: no-recover nothing is recovered
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
rounds=50
RANDOM=${LAB_SEED:-7}
at_end+=("rm -f /root/disk" 'for n in 0 1; do set_pages $n 0; done >/dev/null')
truncate -s 16M /root/disk
rom_spec k <<'TOML'
name = "k"
[cpu]
count = 2
pin = "off"
[memory]
size = "32M"
page = "2M"
nodes = [0, 1]
[[net]]
bridge = "br0"
queues = 2
[[disk]]
path = "/root/disk"
format = "raw"
TOML
# How long a start takes here: the instants are drawn from there.
vmrun start k.toml 2>k.err || die "$(cat k.err)"
vmrun kill k >/dev/null 2>&1
begun=${EPOCHREALTIME/./}
vmrun start k.toml 2>k.err
whole=$((${EPOCHREALTIME/./} - begun))
equal "pages on both nodes" "0:8 1:8" "$(huge_pages "$(qemu_of k)")"
check "a tap on the bridge" test -n "$(ls /sys/class/net/br0/brif)"
vmrun kill k >/dev/null 2>&1
as_before "the machine after an ordinary life"
fact "a start takes" "$((whole / 1000)) ms"

# shellcheck source=tests/stage.sh
. ./stage.sh
equal_rounds=0
declare -A stages victims
for ((round = 1; round <= rounds; round++)); do
    # a part of what it needs may be there already
    set_pages 0 $((RANDOM % 3 * 4)) >/dev/null
    set_pages 1 $((RANDOM % 2 * 5)) >/dev/null
    machine=$(machine_state)
    delay=$(((RANDOM * 32768 + RANDOM) % (whole * 5 / 4)))
    vmrun run --no-console k.toml >k.log 2>&1 </dev/null &
    launcher=$!
    sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
    read -r -a children <"/proc/$launcher/task/$launcher/children"
    reached=$(stage_of /run/vmrun/k)
    case $((RANDOM % 3)) in
        0) victim=vmrun; kill -9 $launcher ;;
        1) victim=QEMU; kill -9 "${children[@]}" || { victim=vmrun; kill -9 $launcher; } ;; # it may not be there yet
        2) victim=both; kill -9 "${children[@]}" $launcher ;;
    esac 2>/dev/null
    wait $launcher 2>/dev/null
    stages[$reached]=$((${stages[$reached]:-0} + 1))
    victims[$victim]=$((${victims[$victim]:-0} + 1))
    status=0
    fault no-recover >/dev/null || vmrun recover >recover.log 2>&1 || status=$?
    [ $round != 2 ] || ! fault leaked-tap || ip tuntap add va9.0 mode tap
    [ $round != 2 ] || ! fault leaked-page || set_pages 1 9 >/dev/null
    if [ $status = 0 ] && wait_for 5 same_machine; then
        equal_rounds=$((equal_rounds + 1))
    else
        not_ok "round $round: $victim killed after $((delay / 1000)) ms, when $reached; recover's status $status"
        sed 's/^/    /' recover.log
        pgrep -a 'vmrun|qemu' | sed 's/\(.\{90\}\).*/\1/; s/^/    /'
        diff <(echo "$machine") <(machine_state) | sed 's/^/    /'
        cat /run/vmrun/k/journal 2>/dev/null
        ip link delete va9.0 2>/dev/null
        for n in $(grep -lsE '^(qemu-system-x86|vmrun)' /proc/[0-9]*/comm | tr -dc '0-9\n'); do kill -9 "$n"; done 2>/dev/null
        sleep 1
        vmrun recover
        [ "$LAB_FAULT" = '' ] || break # seen; the other rounds would only say so again
    fi
done
equal "rounds that ended with the machine as before" "$rounds" "$equal_rounds"
fact "rounds that ended with the machine as before" "$equal_rounds of $rounds"
fact "killed" "$(for one in "${!victims[@]}"; do echo "$one ${victims[$one]}"; done | sort | paste -sd,)"
fact "when" "$(for one in "${!stages[@]}"; do echo "${one#* } ${stages[$one]}"; done | sort | paste -sd,)"
for n in 0 1; do set_pages $n 0; done >/dev/null
up k
kill_vm k
ok "a VM starts after all that"
