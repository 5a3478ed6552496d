#!/bin/bash
# A real Debian 13 under KVM, from its image: `vmrun ssh` by vsock, its systemd's word that it is ready, and a reboot inside.
# (The KVM here is itself emulated: Debian takes minutes to boot.)
# lab: --all --kernel 6.12 --qemu 10.0 --memory 2048 --timeout 2400
# files: ls "$(scripts/guest --distro debian13)/disk.qcow2"
# fault: mute nobody listens for the guest's systemd
# fault: network ssh goes by the network
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
modprobe vhost_vsock || die "no vsock"
echo "qemu = \"$QEMU\"" >host.toml
export VMRUN_HOST_TOML=$PWD/host.toml VMRUN_STATE_DIR=$PWD/state
at_end+=("vmrun kill web 2>/dev/null" "rm -rf $PWD/state")
machine=$(machine_state)

check "new" vmrun new web --image "$PWD/disk.qcow2" --size 5G --memory 1G --cpus 2 --user ann || die "no VM"
check "new writes [vsock], as this host has it" grep -q '^\[vsock\]' web.toml
! fault network || sed -i '/^\[vsock\]/d' web.toml
ready=notify
! fault mute || { ready=ssh; sed -i '/^\[vsock\]/d' web.toml; }
start=$(now)
vmrun start --set "ready=$ready" --set ready_timeout=1500 web.toml 2>start.err || { cat start.err; die "no start"; }
fact "image to ready" "$(since "$start") s"
check "its systemd says that it is ready" grep -q 'is ready: its systemd says so' start.err

inside() { vmrun ssh --timeout 900 web "$@" </dev/null; }
equal "ssh is in" web "$(inside hostname)"
equal "by no network: nobody's address is told" "UNKNOWN" "$(inside 'echo $SSH_CONNECTION' | cut -d' ' -f1)"
equal "the exit code is the command's" 7 "$(inside exit 7 >/dev/null 2>&1; echo $?)"
equal "stdin is the command's" "a  b" "$(echo 'a  b' | vmrun ssh web cat)"
printf 'x\0y' >some
check "copy there and back" vmrun copy some web:/tmp/some
check "(back)" vmrun copy web:/tmp/some other
check "the same bytes" cmp some other
inside sudo systemctl stop ssh.socket ssh.service 2>/dev/null
equal "ssh is in while no sshd listens to the network" web "$(inside hostname)"
boot=$(inside cat /proc/sys/kernel/random/boot_id)
start=$(now)
inside sudo reboot >/dev/null 2>&1
rebooted() { local id; id=$(vmrun ssh --timeout 60 web cat /proc/sys/kernel/random/boot_id </dev/null) && [ "$id" != "$boot" ]; }
check "it reboots inside" wait_for 1200 rebooted
fact "a reboot" "$(since "$start") s"
check "it powers down" vmrun stop --timeout 300 web

rm -f web.qcow2 web.toml some other start.err host.toml
end
