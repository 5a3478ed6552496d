#!/bin/bash
# The guest's half: what [guest] asks for is set by the agent and read back by `vmrun verify`; each of it that somebody changes inside is
# named, and nothing else; the script of `vmrun guest-setup` puts it right again.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
truncate -s 64M "$work/disk.raw"

# lost: what is not held inside, a line each
lost() { "$vmrun" verify a --json | jq -r '.rows[] | select(.area == "guest" and .outcome == "lost") | .what' | sort; }
# (what cannot be checked has an exit code of its own, and is no matter here)
none_lost() { [ "$(lost)" = "" ] && { "$vmrun" verify a --json || true; } | jq -e '[.rows[] | select(.area == "guest" and .outcome == "held")] | length > 17' >/dev/null; }
in_guest() { "$vmrun" exec --stdin a -- sh -s "$@"; }

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    {
        printf 'accel = "tcg"\n[cpu]\ncount = 2\npin = "off"\n[memory]\nsize = "256M"\npage = "4K"\n[agent]\n'
        printf '[[disk]]\npath = "%s"\nformat = "raw"\n[[net]]\nmac = "52:54:00:00:00:0a"\n' "$work/disk.raw"
        printf '[guest]\nsysctls = ["guide 004", "kernel.panic = 7"]\nrq_affinity = 2\nswappiness = 10\nhugepages = 3\n'
        printf 'transparent_hugepages = "never"\nirqs = "1"\nmtu = 1400\n'
        boot "vmrun.more vmrun.then=agent"
    } | spec a
    run_in_background pid a
    says a '^guest: agent listens' "$pid" 90 || failed "$version: the guest gets ready" "$(cat "$work"/a.{out,err})"
    check "$version: all of it is set, and read back" within 120 none_lost
    [ "$(lost)" = "" ] || "$vmrun" verify a
    hasnt "$version: nothing was not taken" "$(cat "$work/a.err")" 'not taken'

    in_guest <<'GUEST'
for name in rmem_max wmem_max rmem_default wmem_default netdev_max_backlog somaxconn; do echo 54321 >/proc/sys/net/core/$name; done
for name in tcp_rmem tcp_wmem; do echo 4096 8192 65536 >/proc/sys/net/ipv4/$name; done
echo 8 >/proc/sys/kernel/panic
echo 1 >/sys/block/vda/queue/rq_affinity
echo 61 >/proc/sys/vm/swappiness
echo 2 >/proc/sys/vm/nr_hugepages
echo always >/sys/kernel/mm/transparent_hugepage/enabled
echo 1300 >/sys/class/net/eth0/mtu
for irq in /sys/class/net/eth0/device/../msi_irqs/*; do echo 0 >/proc/irq/${irq##*/}/smp_affinity_list; done
true
GUEST
    is "$version: each that is changed inside is named" "$(lost | tr '\n' ',')" \
        "MTU of 52:54:00:00:00:0a,interrupts of its cards,kernel.panic,net.core.netdev_max_backlog,net.core.rmem_default,net.core.rmem_max,net.core.somaxconn,net.core.wmem_default,net.core.wmem_max,net.ipv4.tcp_rmem,net.ipv4.tcp_wmem,rq_affinity of its disks,transparent huge pages,vm.nr_hugepages,vm.swappiness,"
    run_code "$vmrun" verify a
    is "$version: exit code" "$code" 1
    has "$version: with where it was read" "$out" 'not held: vm.swappiness: wanted 10, is 61 \(read from /proc/sys/vm/swappiness of the guest\)'

    "$vmrun" guest-setup "$work/a.toml" >"$work/setup"
    in_guest check <"$work/setup" >"$work/said" && failed "$version: the script tells by its exit code" || passed "$version: the script tells by its exit code"
    is "$version: it only looked" "$(grep -c '^not held: ' "$work/said")" 15
    check "$version: the script sets all of it" in_guest <"$work/setup" >/dev/null
    is "$version: nothing is lost any more" "$(lost)" ""
    "$vmrun" kill a >/dev/null
    wait "$pid" || true
done
finish
