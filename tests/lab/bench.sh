#!/bin/bash
# tests/bench/launch as it is, under a KVM that runs 64-bit guests: plain QEMU and vmrun in random turn, one VM, one of 64 vCPUs, eight at
# once. The ratios are facts; as bounds they are wide: the lab's own CPUs are emulated by two.
# lab: --all --nodes 1 --kernel 6.12 --qemu 10.0 --memory 6144 --timeout 900
# fault: slow every start of vmrun takes two seconds longer
set -u
# shellcheck source=tests/lab/lib.sh
. ./lib.sh
begin
measured=$(command -v vmrun)
if fault slow; then
    measured=/root/vmrun-slow
    printf '#!/bin/sh\n[ "$1" != start ] || sleep 2\nexec vmrun "$@"\n' >$measured
    chmod +x $measured
fi
check "the bench runs to its end" python3 bench/launch --vmrun "$measured" --rom /lab/guest/rom16.bin -n 5 --only one,eight,wide,look --no-libvirt \
    --json /root/bench.json || die
install -m 644 /root/bench.json /out/ 2>/dev/null || true
# of WHAT PAIR: the ratio, in hundredths
of() { jq ".ratios[\"$1\"][\"$2\"].ratio * 100 | floor" /root/bench.json; }
for what in start "start, 64 vCPUs" "start, eight at once" stop; do
    fact "$what, of plain QEMU's" "$(of "$what" vmrun/QEMU | sed 's/..$/.&/')"
done
for what in plan list verify; do
    fact "$what, of lscpu's" "$(of "$what" vmrun/lscpu | sed 's/..$/.&/')"
done
for what in start "start, 64 vCPUs" "start, eight at once"; do
    check "$what: less than twice plain QEMU's" test "$(of "$what" vmrun/QEMU)" -lt 200
done
equal "it ran under" kvm "$(jq -r .accel /root/bench.json)"
end
