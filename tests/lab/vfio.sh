#!/bin/bash
# vfio: an emulated NVMe and a virtual function of a network card, both behind root ports of node 1, are taken from their drivers,
# passed to guests that use them and see their node, and given back; so too when vmrun is killed at any point of it.
# lab: --timeout 420 --kernel 6.12 --qemu 10.0 --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# lab: --timeout 420 --kernel 6.1 --qemu 7.2 --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# lab: --all --timeout 420 --kernel all --qemu all --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# fault: not-given-back the NVMe stays with vfio-pci
# fault: not-bound the NVMe stays with its driver
# fault: functions-stay the virtual functions are not removed
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
find_functions
check "they have IOMMU groups" test -e "/sys/bus/pci/devices/$nvme/iommu_group" -a -e "/sys/bus/pci/devices/$card/iommu_group" ||
    die "no IOMMU"
equal "the NVMe's driver before ($nvme)" nvme "$(driver "$nvme")"
equal "virtual functions before ($card)" 0 "$(functions "$card")"
vf0=${card%.0}.1 vf1=${card%.0}.2

# --- refused ---------------------------------------------------------------------------------------------------------------
small='[cpu]\ncount = 1\n[memory]\nsize = "64M"\n'
root_nvme=$(basename "$(readlink -f /sys/block/"$(basename "$(findmnt -no SOURCE /)")"/device/device 2>/dev/null)")
case $root_nvme in *:*) ;; *) root_nvme=$(for one in /sys/bus/pci/drivers/nvme/0*; do [ "${one##*/}" = "$nvme" ] || echo "${one##*/}"; done) ;; esac
plan_of() { printf "${small}[[pci]]\n$1\n" >refused.toml; vmrun plan refused.toml; }
refused "the NVMe that holds the root" 2 'is mounted on /' plan_of "address = \"$root_nvme\""
refused "no NVMe is free on node 0" 2 'no function of class "nvme" of node 0 is free' plan_of 'class = "nvme"\nnode = 0'
refused "the card's driver sets no addresses" 2 'cannot set its virtual' plan_of "vf_of = \"$card\"\nmac = \"52:54:00:00:00:99\""
refused "no iommufd in this kernel, or none in QEMU" 2 'iommufd: true, but' plan_of "address = \"$nvme\"\niommufd = true"
ip link set "$interface" up
refused "a card whose interface is up" 2 'is up' plan_of "address = \"$card\""
ip link set "$interface" down
check "nothing was changed" same_machine

# --- the NVMe, by address, into a guest of two nodes --------------------------------------------------------------------------
pci() { fault not-bound || printf '[[pci]]\n%b\n' "$1"; }
spec v "$tell_functions" vmrun.disk=nvme0n1 vmrun.then=idle <<TOML
name = "v"
[cpu]
count = 4
[memory]
size = "256M"
nodes = [0, 1]
$(pci "address = \"$nvme\"")
TOML
run v
if check "the guest is ready" boot_wait v.log "${keeper[v]}"; then
    pid=$(qemu_of v)
    group=$(basename "$(readlink "/sys/bus/pci/devices/$nvme/iommu_group")")
    equal "its driver" vfio-pci "$(driver "$nvme")"
    check "QEMU is no root" test "$(awk '$1 == "Uid:" { print $2 }' "/proc/$pid/status")" != 0
    equal "nor has it a capability" 0000000000000000 "$(awk '$1 == "CapEff:" { print $2 }' "/proc/$pid/status")"
    equal "seccomp filters" 2 "$(awk '$1 == "Seccomp:" { print $2 }' "/proc/$pid/status")"
    check "QEMU holds the group" sh -c "ls -l /proc/$pid/fd | grep -q '/dev/vfio/$group\$'"
    equal "whose file stays root's for everybody else" "0 600" "$(stat -c '%u %a' "/dev/vfio/$group")"
    check "it may lock the guest's memory" awk '/^Max locked memory/ && ($4 == "unlimited" || $4 >= 268435456) { ok = 1 } END { exit !ok }' "/proc/$pid/limits"
    guest_says v "nvme0n1 bytes=16777216 "
    guest_says v "disk nvme0n1 write and read ok"
    guest_says v "pci .* class=0x010802 driver=nvme node=1"
    # vmrun's looks get rarer, and a guest here is slow to get to its driver. The kernel moves some interrupts only when they next fire:
    # one that is elsewhere must have been silent since its mask was the VM's.
    fired() { awk -v irq="$1:" '$1 == irq { for (i = 2; $i ~ /^[0-9]+$/; ++i) sum += $i; print sum }' /proc/interrupts; }
    declare -A count
    on_vm() { # the vCPUs of node 1 are the last two
        local irq='' cpus now
        cpus=$(for tid in $(vcpus v | tail -n 2); do cpus_of "$tid"; done | paste -sd,)
        for irq in $(sed -n "s/^ *\([0-9]*\):.*vfio-msix.*($nvme).*/\1/p" /proc/interrupts); do
            inside "$(cat "/proc/irq/$irq/smp_affinity_list")" "$cpus" || return 1
            now=$(fired "$irq")
            if ! inside "$(cat "/proc/irq/$irq/effective_affinity_list")" "$cpus"; then
                [ "$now" = "${count[$irq]:=$now}" ] || return 1
            fi
        done
        [ -n "$irq" ]
    }
    check "its interrupts are on the vCPUs of node 1" wait_for 30 on_vm || grep vfio /proc/interrupts
    check "vmrun show tells them" sh -c "vmrun show v | grep -q 'vfio-msi.*($nvme)'"
    fact "in the guest" "$(tr -d '\r' <v.log | sed -n 's/^guest: \(nvme0n1 bytes=[0-9]*\|pci .*010802.*\).*/\1/p' | paste -sd';')"
    fact "its interrupts" "$(vmrun show v | sed -n 's/^ *\([0-9]* *vfio.*\)/\1/p' | tr -s ' ' | paste -sd';')"
    spec w <<<"$(printf "name = \"w\"\n${small}[[pci]]\naddress = \"$nvme\"\n")"
    refused "another VM cannot have it" 2 "belongs to VM v" vmrun run w.toml
    down v
else
    cat v.err
fi
if fault not-given-back; then
    echo vfio-pci >"/sys/bus/pci/devices/$nvme/driver_override"
    echo "$nvme" >"/sys/bus/pci/devices/$nvme/driver/unbind"
    echo "$nvme" >/sys/bus/pci/drivers_probe
fi
equal "its driver at the end" nvme "$(driver "$nvme")"
check "and its disk is there again" wait_for 10 sh -c "ls /sys/bus/pci/devices/$nvme/nvme/nvme*/nvme*n1"
as_before "the machine is as before the first guest"

# --- by class and node; and a virtual function each for two VMs -----------------------------------------------------------------
spec a "$tell_functions" vmrun.disk=nvme0n1 vmrun.then=idle <<TOML
name = "a"
[cpu]
count = 1
[memory]
size = "128M"
[[pci]]
class = "nvme"
node = 1
expose_node = true
[[pci]]
vf_of = "$card"
TOML
run a
if check "the guest is ready" boot_wait a.log "${keeper[a]}"; then
    equal "the NVMe's driver" vfio-pci "$(driver "$nvme")"
    equal "virtual functions made" 2 "$(functions "$card")"
    equal "the first one's driver" vfio-pci "$(driver "$vf0")"
    equal "the VM is near its devices" 1 "$(node_of_cpu "$(cpus_of "$(vcpus a)")")"
    guest_says a "disk nvme0n1 write and read ok"
    guest_says a "pci .* class=0x010802 driver=nvme node=0" # the guest's only node, which is the host's node 1
    guest_says a "pci .* class=0x020000 driver=virtio-pci"
    guest_says a "eth0 driver=virtio_net mac=52:54:00:00:00:f1"
    fact "virtual function in the guest" "$(tr -d '\r' <a.log | sed -n 's/^guest: \(eth0 .*\)/\1/p')"
    # a second VM gets the other one, and the functions stay while it has it
    rom_spec b <<<"$(printf "name = \"b\"\n${small}[[pci]]\nvf_of = \"$interface\"\n")"
    up b
    equal "the second one's driver" vfio-pci "$(driver "$vf1")"
    rom_spec c <<<"$(printf "name = \"c\"\n${small}[[pci]]\nvf_of = \"$interface\"\n")"
    refused "there is no third one" 2 "no virtual function of $card is free" vmrun run c.toml
    down a
    equal "virtual functions while one is used" 2 "$(functions "$card")"
    equal "the second one's driver still" vfio-pci "$(driver "$vf1")"
    kill_vm b
    ! fault functions-stay || echo 2 >"/sys/bus/pci/devices/$card/sriov_numvfs"
else
    cat a.err
fi
equal "virtual functions at the end" 0 "$(functions "$card")"
as_before "the machine is as before the second guest"

# --- killed at any point ----------------------------------------------------------------------------------------------------------
rom_spec k <<<"$(printf "name = \"k\"\n${small}[[pci]]\naddress = \"$nvme\"\n[[pci]]\nvf_of = \"$interface\"\n")"
killed=0 changed=0
# kill_when WHAT COMMAND...: kill -9 as soon as the command succeeds
kill_when() {
    local what=$1 state
    shift
    run k
    until "$@" 2>/dev/null || ! kill -0 "${keeper[k]}" 2>/dev/null; do :; done
    kill -9 "${keeper[k]}" && killed=$((killed + 1))
    wait "${keeper[k]}" 2>/dev/null
    unset "keeper[k]"
    state="$(driver "$nvme" 2>/dev/null), $(cat "/sys/bus/pci/devices/$nvme/driver_override"), $(functions "$card") virtual functions"
    [ "$state" = "nvme, (null), 0 virtual functions" ] || changed=$((changed + 1))
    vmrun recover >recover.txt 2>&1 || cat recover.txt
    as_before "killed when $what ($state): recovered" || return
    check "twice is as good" vmrun recover
}
override() { [ "$(cat "/sys/bus/pci/devices/$nvme/driver_override")" = vfio-pci ]; }
journalled() { grep -q "$1" /run/vmrun/k/journal; }
bound() { [ "$(driver "$1")" = vfio-pci ]; }
made() { [ "$(functions "$card")" = 2 ]; }
free() { [ ! -e "/sys/bus/pci/devices/$nvme/driver" ]; }
kill_when "the removal of virtual functions was written down" journalled remove_vfs
kill_when "the virtual functions were there" made
kill_when "the return of the NVMe was written down" journalled give_back
kill_when "driver_override was set" override
kill_when "no driver had it" free
kill_when "vfio-pci had it" bound "$nvme"
kill_when "vfio-pci had the virtual function" bound "$vf0"
kill_when "QEMU was there" qemu_of k
kill_when "the guest ran" grep -q 'vmrun-rom up' k.log
fact "killed with kill -9 while lending devices" "$killed times, $changed of them with something to put back; all put back"
check "some kills hit a changed machine" test "$changed" -ge 4
up k
kill_vm k
equal "the NVMe's driver at the end" nvme "$(driver "$nvme")"

# --- locked, and passed on: mlock and vfio both count the guest's small pages against one limit --------------------------------------
rom_spec m <<<"$(printf "name = \"m\"\n[cpu]\ncount = 1\n[memory]\nsize = \"64M\"\npage = \"4K\"\nlock = true\n[[pci]]\naddress = \"$nvme\"\n")"
vmrun() { (ulimit -l 8192 && exec vmrun "$@"); } # as in a shell of whoever has no more
up m
unset -f vmrun
check "all of the guest's memory is locked" awk '$1 == "VmLck:" { ok = $2 >= 65536 } END { exit !ok }' "/proc/${qemu[m]}/status"
kill_vm m
equal "the NVMe's driver" nvme "$(driver "$nvme")"
end
fact "passed through" "$nvme and $vf0 of node 1, given back to $(driver "$nvme")"
