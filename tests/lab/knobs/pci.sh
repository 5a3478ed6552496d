#!/bin/bash
# Every knob of [[pci]]: lines KNOB<TAB>name<TAB>asked<TAB>seen, where `seen` is the host's kernel's, QMP's or the guest's word.
# Status 1 when one is not as asked.
# lab: --timeout 900 --kernel 6.12 --qemu 10.0 --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# lab: --all --timeout 900 --kernel all --qemu all --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# fault: hidden the spec says not to show the device's node
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

# passed NAME PROPERTY: of the vfio device, by QMP
passed_property() {
    qmp "/run/vmrun/$1/qmp.sock" "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine/peripheral/pci0\",\"property\":\"$2\"}}" | jq -rc .return
}
# says SPEC-KEYS: what `vmrun plan` refuses of a [[pci]] with them
refusal() { printf '[cpu]\ncount = 1\n[memory]\nsize = "64M"\n[[pci]]\n%b\n' "$1" >no.toml; vmrun plan no.toml 2>&1 | sed -n 's/^error: //p' | head -n 1; }

begin
find_functions
expose=true
! fault hidden || expose=false
spec a "$tell_functions" vmrun.disk=nvme0n1 vmrun.then=idle <<TOML
name = "a"
[cpu]
count = 1
[memory]
size = "128M"
[[pci]]
address = "$nvme"
expose_node = $expose
rom = false
[[pci]]
vf_of = "$interface"
vfs = 2
TOML
up a
pid=$(qemu_of a)
group=$(basename "$(readlink "/sys/bus/pci/devices/$nvme/iommu_group")")
knob pci.address "$nvme vfio-pci" "$nvme $(driver "$nvme")"
knob "pci: used by the guest" "write and read ok" "$(said a 'disk nvme0n1 \(.*\)')"
knob "pci: QEMU's file of the IOMMU group" "/dev/vfio/$group" "$(find "/proc/$pid/fd" -lname '/dev/vfio/[0-9]*' -exec readlink {} \; | sort -u | grep -x "/dev/vfio/$group")"
knob "pci: QEMU's uid and capabilities" "not 0, 0000000000000000" "$(awk '$1 == "Uid:" { u = $2 ? "not 0" : 0 } $1 == "CapEff:" { c = $2 } END { print u ", " c }' "/proc/$pid/status")"
knob "pci: locked memory allowed" "at least 128 MiB" "$(awk '/^Max locked memory/ { print ($4 == "unlimited" || $4 >= 134217728) ? "at least 128 MiB" : $4 }' "/proc/$pid/limits")"
knob "pci.expose_node=true" "node=0" "$(said a 'pci .*class=0x010802 .*\(node=.*\)')"
knob "pci.expose_node, by QMP" "0" "$(qmp /run/vmrun/a/qmp.sock '{"execute":"qom-get","arguments":{"path":"/machine/peripheral/node0","property":"numa_node"}}' | jq -rc .return)"
knob "pci.rom=false" 0 "$(passed_property a rombar)"
knob "pci: a port that takes no other device" false "$(qmp /run/vmrun/a/qmp.sock '{"execute":"qom-get","arguments":{"path":"/machine/peripheral/pci0-port","property":"hotplug"}}' | jq -rc .return)"
knob pci.vf_of "${card%.0}.1 vfio-pci" "${card%.0}.1 $(driver "${card%.0}.1")"
knob "pci.vf_of, in the guest" "virtio_net 52:54:00:00:00:f1" "$(said a 'eth0 driver=\([^ ]*\) .*') $(said a 'eth0 .*mac=\([^ ]*\) .*')"
knob pci.vfs=2 2 "$(functions "$card")"
knob "pci: the VM's node is the device's" 1 "$(node_of_cpu "$(cpus_of "$(vcpus a)")")"
near() {
    seen=
    local irq
    for irq in $(sed -n "s/^ *\([0-9]*\):.*vfio-msix.*($nvme).*/\1/p" /proc/interrupts); do
        seen="$seen $(cat "/proc/irq/$irq/smp_affinity_list")" # the effective one follows when the interrupt next fires
    done
    seen=$(cpu_list $seen)
    [ "$seen" = "$(cpu_list "$(cpus_of "$(vcpus a)")")" ]
}
wait_for 30 near || near || true
knob "pci: interrupts on the VM's CPUs" "$(cpu_list "$(cpus_of "$(vcpus a)")")" "$seen"
down a
knob "pci: given back" "nvme 0" "$(driver "$nvme") $(functions "$card")"
rom_spec b <<<"$(printf 'name = "b"\n[cpu]\ncount = 1\n[memory]\nsize = "64M"\n[[pci]]\nclass = "nvme"\nnode = 1\n')"
up b
knob "pci.class=nvme, node=1" vfio-pci "$(driver "$nvme")"
down b
knob "pci.class, none free" 'class: no function of class "nvme" of node 0 is free' "$(refusal 'class = "nvme"\nnode = 0' | sed 's/^pci\[0\].//; s/ free.*/ free/')"
# What this machine cannot do is refused: its kernels have no iommufd, virtio's driver sets no addresses of functions.
knob "pci.iommufd=true, not to be had" "iommufd: true, but" "$(refusal "address = \"$nvme\"\niommufd = true" | sed 's/^pci\[0\].//; s/ but .*/ but/')"
knob "pci.mac, not to be had" "mac: the driver of $interface cannot set" "$(refusal "vf_of = \"$interface\"\nmac = \"52:54:00:00:00:99\"" | sed 's/^pci\[0\].//; s/ set .*/ set/')"
end
