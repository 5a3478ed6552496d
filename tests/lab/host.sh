#!/bin/bash
# The lab itself is what the other tests take it for: nodes, SMT siblings and shared L3s, modules, huge pages of each node, and a
# KVM guest of plain QEMU whose memory and threads lie where they were put.
# lab: --nodes 2 --kernel 6.12 --qemu 7.2
# lab: --all --nodes 2 --kernel 6.1 --qemu 10.0
# lab: --all --nodes 4 --kernel 6.12 --qemu 11.1
# fault: wrong-pin one vCPU is put on another CPU
# fault: one-queue the guest's tap has one queue
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh

cpu=/sys/devices/system/cpu
node=/sys/devices/system/node
count=$LAB_NODES
per_node=4
cpus=$((count * per_node))

fact kernel "$(uname -r)"
fact QEMU "$("$QEMU" --version | head -n 1)"
equal "nodes online" "0-$((count - 1))" "$(cat $node/online)"
equal "CPUs online" "0-$((cpus - 1))" "$(cat $cpu/online)"
for ((i = 0; i < count; i++)); do
    equal "CPUs of node $i" "$((i * per_node))-$((i * per_node + per_node - 1))" "$(cat $node/node$i/cpulist)"
    fact "distances of node $i" "$(cat $node/node$i/distance)"
done
case $count in
    2) equal "distances of node 0" "10 21" "$(cat $node/node0/distance)" ;;
    4) equal "distances of node 0" "10 12 21 21" "$(cat $node/node0/distance)" ;;
esac
equal "SMT siblings of CPU 0" 0-1 "$(cat $cpu/cpu0/topology/thread_siblings_list)"
equal "SMT siblings of the last CPU" "$((cpus - 2))-$((cpus - 1))" "$(cat "$cpu/cpu$((cpus - 1))/topology/thread_siblings_list")"
equal "CPUs that share an L3 with CPU 0" 0-3 "$(cat $cpu/cpu0/cache/index3/shared_cpu_list)"
equal "clock source" tsc "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
equal "cgroups" cgroup2fs "$(stat -fc %T /sys/fs/cgroup)"

for module in kvm_amd vhost_net tun bridge; do check "modprobe $module" modprobe "$module"; done
for file in /dev/kvm /dev/vhost-net /dev/net/tun; do check "$file" test -c "$file"; done
equal "nested paging" Y "$(cat /sys/module/kvm_amd/parameters/npt)"

for ((i = 0; i < count; i++)); do
    equal "2M pages granted on node $i" 160 "$(set_pages $i 160)"
done
echo /opt/qemu-*/bin/qemu-system-x86_64 | tr ' ' '\n' | while read -r each; do "$each" --version | head -n 1; done >/tmp/versions
equal "QEMUs that run here" 3 "$(grep -c 'QEMU emulator' /tmp/versions)"

# A guest with a node on each of the first two: 256 MiB of 2M pages from either, its vCPUs on CPUs 2,3 and 6,7
truncate -s 16M /tmp/disk
ip tuntap add dev tap0 mode tap multi_queue vnet_hdr
ip address add 10.9.0.1/24 dev tap0
ip link set tap0 up
queues=2
! fault one-queue || queues=1
start=$(now)
"$QEMU" -name guest=plain,debug-threads=on -nodefaults -no-user-config -display none \
    -machine q35,accel=kvm,pit=off,hpet=off -cpu host,topoext=on -smp 4,sockets=2,cores=1,threads=2 -m 512 \
    -object memory-backend-memfd,id=m0,size=256M,hugetlb=on,hugetlbsize=2M,host-nodes=0,policy=bind,prealloc=on \
    -object memory-backend-memfd,id=m1,size=256M,hugetlb=on,hugetlbsize=2M,host-nodes=1,policy=bind,prealloc=on \
    -numa node,nodeid=0,memdev=m0,cpus=0-1 -numa node,nodeid=1,memdev=m1,cpus=2-3 -numa dist,src=0,dst=1,val=21 \
    -kernel /lab/guest/vmlinuz -initrd /lab/guest/initrd \
    -append "console=ttyS0 quiet mitigations=off vmrun.report vmrun.ip=10.9.0.2 vmrun.gw=10.9.0.1 vmrun.disk=vda vmrun.then=idle" \
    -object iothread,id=io0 -blockdev driver=file,filename=/tmp/disk,node-name=f0 \
    -device virtio-blk-pci,drive=f0,iothread=io0,num-queues=4,packed=on \
    -netdev tap,id=n0,ifname=tap0,script=no,downscript=no,vhost=on,queues=$queues -device virtio-net-pci,netdev=n0,mq=on,vectors=6 \
    -serial file:/out/guest.log -qmp unix:/tmp/qmp,server=on,wait=off -S &
pid=$!
check "QEMU answers" wait_for 20 test -S /tmp/qmp || die "no monitor"
mapfile -t vcpus < <(qmp /tmp/qmp query-cpus-fast | jq -r '.return | sort_by(."cpu-index")[] | ."thread-id"')
equal "vCPU threads before the first instruction" 4 "${#vcpus[@]}"
places=(2 3 6 7)
for i in 0 1 2 3; do taskset -pc "${places[i]}" "${vcpus[i]}" >/dev/null; done
! fault wrong-pin || taskset -pc 1 "${vcpus[0]}" >/dev/null
qmp /tmp/qmp cont >/dev/null
check "guest is ready" boot_wait /out/guest.log "$pid" || die "no guest"
fact "guest ready after" "$(since "$start") s"
for i in 0 1 2 3; do equal "CPUs of vCPU $i" "${places[i]}" "$(cpus_of "${vcpus[i]}")"; done
equal "huge pages on node 0, all and free" "160 32" "$(pages 0)"
equal "huge pages on node 1, all and free" "160 32" "$(pages 1)"
check "guest memory of node 1 lies there" grep -q 'bind:1 .*huge.* N1=128 ' "/proc/$pid/numa_maps"
equal "KVM serves it" true "$(qmp /tmp/qmp query-kvm | jq .return.enabled)"
for line in "cpus=4 nodes=2" "node1 cpus=2-3" "cpu0 smt=0-1" "clocksource=kvm-clock" "eth0 driver=virtio_net .*tx_queues=2 rx_queues=2" \
    "vda bytes=16777216 hw_queues=4" "virtio[0-9]* device=blk .*packed=1" "ping 10.9.0.1 3/3" "disk vda write and read ok"; do
    check "guest says: $line" grep -q "^guest: $line" /out/guest.log
done
start=$(now)
qmp /tmp/qmp system_powerdown >/dev/null
check "guest powers off by its button" wait_for 20 sh -c "! kill -0 $pid" || kill -9 "$pid"
wait "$pid"
equal "QEMU's status" 0 $?
fact "power off took" "$(since "$start") s"
equal "huge pages on node 0 afterwards" "160 160" "$(pages 0)"
