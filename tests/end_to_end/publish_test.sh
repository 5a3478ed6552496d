#!/bin/bash
# What one would publish, in a real Debian: fio and iperf3 in it, three runs, read by a harness. An emulated one needs minutes for each boot,
# so that is done where it is asked for: VMRUN_PUBLISH=1, or =VERSION, on that QEMU. (The ready benchmarks are measure_test's.)
# shellcheck source=tests/end_to_end/lib.sh
. "$(dirname "$0")/lib.sh"
root_only
[ -n "${VMRUN_PUBLISH:-}" ] || skip "an emulated Debian needs minutes for each boot: VMRUN_PUBLISH=1 does it"
need python3 qemu-img ssh-keygen
image=$("$root/scripts/guest" --distro debian13)/disk.qcow2 || missing "the image of debian13"
for qemu in "${qemus[@]}"; do if [ "$(version_of "$qemu")" = "$VMRUN_PUBLISH" ]; then use_qemu "$qemu"; fi; done
remember
cd "$work" || exit
"$vmrun" new web --image "$image" --size 5G --memory 1G --cpus 2 --user ann 2>/dev/null
# the machine is no quiet one: what disturbs is told, and nothing is done again for it
common=("$work/web.toml" --ready 1200 --cooldown 0 --stop-timeout 120 --retries 0)

# --- three runs of both ---
SECONDS=0
run_code python3 "$root/tests/harness.py" "$vmrun" "${common[@]}" --runs 3 -- sh -c '
    fio --name=r --filename=/dev/vda --readonly --rw=randread --bs=4k --ioengine=libaio --direct=1 --time_based --runtime=5 --output-format=json
    iperf3 -s -D -1 && sleep 1 && iperf3 -c 127.0.0.1 -t 5 -J'
echo "$out"
[ -n "$out" ] || echo "$err"
has "three runs, by the harness" "$out" '^exit [04] runs 3 counted 3 disturbed [0-3]$'
for name in fio.read.iops fio.read.latency_ns fio.read.p99_ns iperf3.bits_per_second; do
    has "the harness reads $name" "$out" "^$name 3 [0-9.e+]+ [0-9.e+]+ [0-9.e+]+\$"
done
echo "note  $SECONDS s for three boots"

as_before "everything is put back"
finish
