#!/bin/sh
# my test box
IMG=/srv/vm/debian.qcow2
exec taskset -c 2-3 qemu-system-x86_64 -enable-kvm -m 2G -smp 2 -cpu host \
    -drive file=$IMG,if=virtio -hdb /srv/vm/data.img -cdrom /srv/iso/debian.iso -boot d \
    -nic user,model=virtio-net-pci,mac=52:54:00:12:34:56,hostfwd=tcp:127.0.0.1:2222-:22 \
    -nographic -vendor-thing yes -kernel /boot/vmlinuz -append "console=ttyS0 root=/dev/vda1" \
    -device edu -fw_cfg name=opt/x,string=1 -smp $(nproc)
