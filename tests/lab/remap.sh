#!/bin/bash
# A guest with APIC ids beyond 254 and a function of the host's: interrupts are remapped, the emulated IOMMU has caching-mode, and the
# guest writes to and reads from the NVMe that is passed through.
# lab: --all --timeout 600 --kernel 6.12 --qemu all --cmdline 'intel_iommu=on iommu=pt' --qemu-args '-device intel-iommu,intremap=on,device-iotlb=on -device pxb-pcie,id=px1,bus_nr=128,numa_node=1 -device pcie-root-port,id=rp1,bus=px1,chassis=1,slot=1 -device pcie-root-port,id=rp2,bus=px1,chassis=2,slot=2 -drive file.driver=null-co,file.size=16M,file.read-zeroes=on,format=raw,snapshot=on,if=none,id=dp -device nvme,serial=pt,drive=dp,bus=rp1 -netdev hubport,id=n0,hubid=0 -netdev hubport,id=n1,hubid=0 -netdev hubport,id=n2,hubid=0 -device virtio-net-pci,bus=rp2,addr=0x0.0x2,netdev=n2,mac=52:54:00:00:00:f2,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x1,netdev=n1,mac=52:54:00:00:00:f1,sriov-pf=pf,iommu_platform=on,ats=on -device virtio-net-pci,bus=rp2,addr=0x0.0x0,netdev=n0,mac=52:54:00:00:00:f0,id=pf,iommu_platform=on,ats=on'
# fault: no-remapping the guest's kernel is told to leave the IOMMU alone
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
find_functions
words=
! fault no-remapping || words=intremap=off
# Five sockets of 9 cores with 3 threads: the numbers are rounded up to powers of two, so the last of 135 vCPUs has the id 290. The
# guest starts two of them: one of the lowest ids, and the time goes to what is to be seen.
spec r "$tell_functions" nr_cpus=2 $words vmrun.disk=nvme0n1 vmrun.then=idle <<TOML
name = "r"
[cpu]
count = 135
pin = "off"
sockets = 5
cores = 9
threads = 3
[memory]
size = "384M"
page = "4K"
[[pci]]
address = "$nvme"
TOML
run r
if check "the guest is ready" boot_wait r.log "${keeper[r]}" 400; then
    pid=$(qemu_of r)
    qmp /run/vmrun/r/qmp.sock query-cpus-fast >cpus.json
    equal "vCPUs" 135 "$(jq '.return | length' cpus.json)"
    check "QEMU has an IOMMU with caching-mode" sh -c "tr '\0' '\n' </proc/$pid/cmdline | grep -q '^intel-iommu,.*caching-mode=on'"
    equal "the NVMe's driver" vfio-pci "$(driver "$nvme")"
    guest_says r "disk nvme0n1 write and read ok"
    kill_vm r
else
    cat r.err
fi
equal "its driver at the end" nvme "$(driver "$nvme")"

end
