#!/bin/bash
# iommufd: an NVMe and a virtual function go to a guest that uses them by open files alone, the address space (/dev/iommu) and a file of
# each device's own; QEMU has no group of theirs, and they are their drivers' again afterwards, also when all was killed.
# Debian's kernels have none of it; scripts/guest.d/iommufd has one with it.
# lab: --all --timeout 420 --kernel 6.12-iommufd --qemu 10.0 --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# lab: --all --timeout 420 --kernel 6.12-iommufd --qemu 11.1 --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# fault: by-group the spec asks for no iommufd
# fault: not-given-back the NVMe is bound to vfio-pci again at the end
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
find_functions
iommufd=true
! fault by-group || iommufd=false
# From 10.1 on QEMU maps memory that is a file by the file, for which Linux before 6.13 has no call; ordinary memory it maps as ever:
# page = "auto" is that there, what was asked for is refused.
page=2M
case $LAB_QEMU in 11.*) page=auto ;; esac
spec a "$tell_functions" vmrun.disk=nvme0n1 vmrun.then=idle <<TOML
name = "a"
[cpu]
count = 2
[memory]
size = "192M"
page = "$page"
[[pci]]
address = "$nvme"
iommufd = $iommufd
[[pci]]
vf_of = "$interface"
iommufd = $iommufd
TOML
if [ "$iommufd" = true ]; then
    refused "before the module is there, with how to load it" 2 'iommufd: true, but this kernel offers no /dev/iommu.*modprobe iommufd' vmrun plan a.toml
    check "modprobe iommufd" modprobe iommufd
    refused "a QEMU that knows none of it" 2 'iommufd: true, but QEMU 7.2.[0-9]* knows no iommufd' env PATH="/opt/qemu-7.2/bin:$PATH" vmrun plan a.toml
fi

if [ "$page" = auto ] && [ "$iommufd" = true ]; then
    refused "huge pages, with this QEMU on this kernel" 2 'pci\[0\].iommufd: true, but QEMU 11.* maps memory that is a file by that file, for which this kernel has no call .* memory is huge pages' \
        vmrun run --set 'memory.page="2M"' a.toml
    refused "shared memory likewise" 2 'pci\[0\].iommufd: true, .* memory is shared' vmrun plan --set 'memory.shared=true' a.toml
    check "its help leads to a plan: base pages" vmrun plan --set 'memory.page="4K"' a.toml
    sed '/^iommufd/d' a.toml >groups.toml
    check "and so does the other, groups" vmrun plan --set 'memory.page="2M"' groups.toml
    check "page = auto became 4K, and it says why" eval 'vmrun plan a.toml | grep -q "memory.page = \"auto\" became 4K: with pci.iommufd QEMU 11"'
    as_before "the machine is as before"
    truncate -s 64M /root/pmem
    at_end+=('rm -f /root/pmem')
    { cat a.toml; printf '[[nvdimm]]\npath = "/root/pmem"\n'; } >nvdimm.toml
    refused "an NVDIMM" 2 'pci\[0\].iommufd: true, .*\[\[nvdimm\]\] is a file' vmrun plan nvdimm.toml
fi

held() { find "/proc/$pid/fd" -lname "$1" -exec readlink {} \; | sort -u; }
run a
if check "the guest is ready" boot_wait a.log "${keeper[a]}" 300; then
    pid=$(qemu_of a)
    vf=${card%.0}.1
    equal "the NVMe's driver" vfio-pci "$(driver "$nvme")"
    equal "the virtual function's" vfio-pci "$(driver "$vf")"
    equal "what QEMU holds of iommufd" /dev/iommu "$(held /dev/iommu)"
    equal "and of vfio: each device's own file" "$(for one in "$nvme" "$vf"; do ls "/sys/bus/pci/devices/$one/vfio-dev" 2>/dev/null; done | sed 's|^|/dev/vfio/devices/|' | sort | xargs)" \
        "$(held '/dev/vfio/*' | xargs)"
    for device in pci0 pci1; do
        equal "$device, by QMP, is of the object" iommufd0 "$(qmp /run/vmrun/a/qmp.sock "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine/peripheral/$device\",\"property\":\"iommufd\"}}" | jq -r '.return | sub(".*/"; "")')"
    done
    equal "QEMU's uid and capabilities" "not 0, 0000000000000000" "$(awk '$1 == "Uid:" { u = $2 ? "not 0" : 0 } $1 == "CapEff:" { c = $2 } END { print u ", " c }' "/proc/$pid/status")"
    guest_says a "disk nvme0n1 write and read ok"
    guest_says a "pci .* class=0x020000 driver=virtio-pci"
    equal "the VM is near its devices" 1 "$(node_of_cpu "$(cpus_of "$(vcpus a | head -n 1)")")"
    check "verify finds all as planned" vmrun verify a
    fact "QEMU's files" "$(held '/dev/[iv]*' | paste -sd' ')"
    fact "in the guest" "$(tr -d '\r' <a.log | sed -n 's/^guest: \(disk nvme.*\|pci .*\)/\1/p' | paste -sd';')"
    down a
else
    cat a.err
fi
if fault not-given-back; then
    echo vfio-pci >"/sys/bus/pci/devices/$nvme/driver_override"
    echo "$nvme" >"/sys/bus/pci/devices/$nvme/driver/unbind"
    echo "$nvme" >/sys/bus/pci/drivers_probe
fi
equal "the NVMe's driver at the end" nvme "$(driver "$nvme")"
check "and its disk is there again" wait_for 10 sh -c "ls /sys/bus/pci/devices/$nvme/nvme/nvme*/nvme*n1"
as_before "the machine is as before"

# --- vmrun and QEMU killed ----------------------------------------------------------------------------------------------------------------
rom_spec k <<TOML
name = "k"
[cpu]
count = 1
[memory]
size = "32M"
page = "4K"
[[pci]]
address = "$nvme"
iommufd = $iommufd
TOML
up k
equal "the NVMe's driver" vfio-pci "$(driver "$nvme")"
kill -9 "${keeper[k]}" "${qemu[k]}"
wait "${keeper[k]}" 2>/dev/null
unset "keeper[k]"
wait_for 20 vmrun recover || vmrun recover
equal "killed, and recovered: its driver" nvme "$(driver "$nvme")"
check "its disk" wait_for 10 sh -c "ls /sys/bus/pci/devices/$nvme/nvme/nvme*/nvme*n1"
as_before "and the machine is as before"
end
