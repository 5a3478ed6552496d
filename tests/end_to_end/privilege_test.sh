#!/bin/bash
# Started as root, QEMU has no rights: uid, capabilities, seccomp and no_new_privs of every thread; and still the guest has huge
# pages, a disk that only root may read, a tap, and the KVM of a /dev/kvm that only root may open.
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only

# no_rights NAME QEMU-PID: every thread's status
no_rights() {
    local name=$1 status wrong=''
    for status in /proc/"$2"/task/*/status; do
        awk '
            /^(Uid|Gid):/ { for (i = 2; i <= 5; i++) if ($i + 0 < 1000) bad = bad " " $0 }
            /^Groups:/ && NF > 1 { bad = bad " " $0 }
            /^Cap(Inh|Prm|Eff|Amb):/ && $2 !~ /^0+$/ { bad = bad " " $0 }
            /^Seccomp:/ && $2 != 2 { bad = bad " " $0 }
            /^NoNewPrivs:/ && $2 != 1 { bad = bad " " $0 }
            END { if (bad) { print bad; exit 1 } }' "$status" >"$work/rights" || wrong+="${status%/status}:$(cat "$work/rights"); "
    done
    if [ -z "$wrong" ]; then
        passed "$name: $(find "/proc/$2/task" -mindepth 1 -maxdepth 1 | wc -l) threads: no root, no capabilities, seccomp filter, no new privileges"
    else
        failed "$name: rights of threads" "$wrong"
    fi
}

bridge=vmrune2e0
make_bridge "$bridge" || skip "no bridge can be made here (ip link add type bridge)"
mkdir -m 700 "$work/secret"
truncate -s 64M "$work/secret/disk.img"
chmod 600 "$work/secret/disk.img"
cp "$guest/vmlinuz" "$guest/initrd" "$work/secret/" # kernel and initrd, too, that only root may read
chmod 600 "$work"/secret/*
umask 077

for qemu in "${qemus[@]}"; do
    version=$(version_of "$qemu")
    echo "--- QEMU $version"
    use_qemu "$qemu"
    cat >"$work/linux.toml" <<TOML
accel = "tcg"
[memory]
size = "256M"
page = "2M"
[[disk]]
path = "secret/disk.img"
aio = "io_uring"
[[net]]
bridge = "$bridge"
[boot]
kernel = "secret/vmlinuz"
initrd = "secret/initrd"
cmdline = "console=ttyS0 quiet no_timer_check nohz=off vmrun.disk=vda vmrun.then=idle"
TOML
    remember
    run_in_background pid linux
    says linux '^guest: ready' "$pid" 60 || failed "$version: the guest gets ready" "$(cat "$work"/linux.{out,err})"
    if child=$(qemu_of linux); then
        no_rights "$version under TCG" "$child"
        is "$version: huge pages all the same" "$(huge_pages_of "$child")" 128
        check "$version: and a ring of io_uring" bash -c "ls -l /proc/$child/fd | grep -q 'anon_inode:\[io_uring\]'"
        check "$version: and a tap on the bridge" bash -c "compgen -G '/sys/class/net/$bridge/brif/*' >/dev/null"
        is "$version: the run directory is root's" "$(stat -c %U "$VMRUN_RUN_DIR/linux")" root
        for socket in qmp.sock console.sock; do
            is "$version: $socket" "$(stat -c '%U %a' "$VMRUN_RUN_DIR/linux/$socket")" "root 600"
        done
        uid=$(awk '/^Uid:/ { print $2 }' "/proc/$child/status")
        for file in "$VMRUN_RUN_DIR/linux/"{owner,journal,plan.json,state.json} "$VMRUN_RUN_DIR/.lock"; do
            check "$version: QEMU's user may not write ${file##*/}" bash -c "! setpriv --reuid $uid --regid $uid --clear-groups test -w '$file'"
        done
    else
        failed "$version: QEMU runs"
    fi
    "$vmrun" stop linux 2>/dev/null || failed "$version: stop"
    exits "$version: exit code" "$pid" 30 0
    has "$version: the disk worked" "$(console_of linux)" '^guest: disk vda write and read ok'
    as_before "$version: as before"

    if have_kvm; then
        { printf 'accel = "kvm"\n[cpu]\ncount = 1\nmodel = "qemu64"\n[memory]\nsize = "64M"\npage = "2M"\n'; rom_boot; } | spec kvm
        run_in_background pid kvm
        says kvm 'vmrun-rom up' "$pid" 30 || failed "$version: the ROM speaks under KVM" "$(cat "$work"/kvm.{out,err})"
        if child=$(qemu_of kvm); then
            no_rights "$version under KVM (/dev/kvm $(stat -c '%U %a' /dev/kvm))" "$child"
            check "$version: it has a VM of the kernel's" bash -c "ls -l /proc/$child/fd | grep -q 'anon_inode:kvm-vm'"
            is "$version: huge pages under KVM" "$(huge_pages_of "$child")" 32
        else
            failed "$version: QEMU runs under KVM"
        fi
        "$vmrun" kill kvm 2>/dev/null || failed "$version: kill"
        exit_of "$pid" 10
        as_before "$version: as before"
    else
        echo "note: no /dev/kvm here: the part with KVM was left out"
    fi
done
[ -e /dev/vhost-net ] || echo "note: no /dev/vhost-net here: vhost is shown in the lab (tests/lab)"
finish
