#!/bin/bash
# Under systemd, by the unit that is installed: `systemctl start` returns when the guest runs, `systemctl stop` powers it down, a kill -9
# of vmrun leaves nothing, all threads are in the unit's group, and recover in one unit leaves other VMs alone.
# lab: --systemd --kernel 6.12 --qemu 7.2
# lab: --all --systemd --kernel all --qemu all
# fault: no-recover the unit does not recover
# fault: kill-only stop kills, without powering down
# fault: not-notify the unit does not wait for readiness
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
mkdir -p /etc/vmrun
ln -sf "$(command -v vmrun)" /usr/bin/vmrun
echo "qemu = \"$QEMU\"" >/etc/vmrun/host.toml
install -m 644 systemd/vmrun@.service /etc/systemd/system/vmrun@.service
unit=/etc/systemd/system/vmrun@.service
at_end+=("systemctl stop 'vmrun@*'" "rm -f $unit /etc/vmrun/*.toml")
! fault no-recover || sed -i '/^ExecStopPost/d' $unit
! fault kill-only || sed -i 's/^\[Service\]/&\nKillSignal=SIGKILL/' $unit
! fault not-notify || sed -i 's/^Type=.*/Type=simple/' $unit
sed -i '/^Restart=/d' $unit # a restart would hide what a kill leaves
systemctl daemon-reload
# (its complaints here are that this Debian has no manual pages and, before systemd 254, that it passes over DelegateSubgroup)
known="Command 'man "
[ "$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')" -ge 254 ] || known+="|Unknown key 'DelegateSubgroup'"
equal "what systemd-analyze finds in the unit" "" "$(systemd-analyze verify $unit 2>&1 | grep vmrun@ | grep -vE "$known")"
machine=$(machine_state)

spec a vmrun.then=idle <<'TOML'
[cpu]
count = 2
[memory]
size = "128M"
page = "2M"
[[net]]
bridge = "br0"
queues = 2
[console]
mode = "socket"
TOML
rom_spec b <<'TOML'
[cpu]
count = 2
[memory]
size = "32M"
page = "2M"
TOML
cp a.toml b.toml /etc/vmrun/
start=$(now)
check "systemctl start" systemctl start vmrun@a
fact "systemctl start took" "$(since "$start") s"
equal "the guest runs at that moment" running "$(vmrun qmp a query-status | jq -r '(.return? // .).status')"
pid=$(qemu_of a)
check "QEMU is there" test -n "$pid"
mapfile -t tids < <(vcpus a)
for tid in "${tids[@]}"; do equal "CPUs of vCPU thread $tid" 1 "$(cpu_list "$(cpus_of "$tid")" | wc -w)"; done
strays=
for tid in $(threads "$pid" | cut -d' ' -f1) $(vhost_workers "$pid" | cut -d' ' -f1); do
    case $(cat "/proc/$tid/cgroup") in 0::/system.slice/*vmrun@a.service*) ;; *) strays+="$tid in $(cat "/proc/$tid/cgroup"); " ;; esac
done
equal "threads outside of the unit's group" "" "$strays"
fact "unit's group" "$(cut -d: -f3 "/proc/$pid/cgroup")"
main=$(systemctl show -p MainPID --value vmrun@a)
equal "the unit's main process" vmrun "$(cat "/proc/$main/comm")"

check "a second unit starts" systemctl start vmrun@b
other=$(qemu_of b)
check "and is killed" systemctl kill --kill-whom=main -s KILL vmrun@b || systemctl kill --kill-who=main -s KILL vmrun@b
wait_for 30 sh -c '! systemctl is-active -q vmrun@b'
wait_for 30 test ! -e /run/vmrun/b
equal "what is left of it" "" "$(ls -d "/run/vmrun/b" "/proc/$other" 2>/dev/null)"
equal "state of its unit" failed "$(systemctl is-failed vmrun@b)"
systemctl reset-failed vmrun@b
check "the first runs on" test -e "/proc/$pid"

# The guest must have come up to hear its power button: its console is a socket here
timeout 120 socat -u UNIX-CONNECT:/run/vmrun/a/console.sock STDOUT >a.log &
reader=$!
sleep 2 # until socat waits there
kill -USR2 "$main" # its keeper listens where nobody else does, and lets go for who waits
vmrun reset a >/dev/null
check "the guest is ready" boot_wait a.log
start=$(now)
check "systemctl stop" systemctl stop vmrun@a
fact "systemctl stop took" "$(since "$start") s"
kill $reader 2>/dev/null
guest_says a "power button"
equal "state of the unit" inactive "$(systemctl is-active vmrun@a)"
equal "result of the unit" success "$(systemctl show -p Result --value vmrun@a)"
journal=$(journalctl -u vmrun@a --no-pager -o cat)
check "its journal tells how the guest ended" grep -q "powered off" <<<"$journal"
end

check "systemctl start again" systemctl start vmrun@a
main=$(systemctl show -p MainPID --value vmrun@a)
kill -9 "$main"
wait_for 30 sh -c '! systemctl is-active -q vmrun@a'
wait_for 30 test ! -e /run/vmrun/a
as_before "nothing is left after kill -9 of vmrun"
systemctl reset-failed vmrun@a 2>/dev/null
rm -f /etc/vmrun/none.toml
refused "a unit whose spec is bad does not start" 1 "failed" systemctl start vmrun@none
systemctl reset-failed vmrun@none 2>/dev/null
end
